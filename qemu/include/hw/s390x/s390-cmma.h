/*
 * s390 collaborative memory management: block states and their host side
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_S390_CMMA_H
#define HW_S390_CMMA_H

#include "exec/hwaddr.h"
#include "hw/core/cpu.h"

#define TYPE_S390_CMMA "s390-cmma"

/* The state of a block, encoded as EXTRACT AND SET STORAGE ATTRIBUTES does */
#define S390_CMMA_CONTENT           0x03
#define S390_CMMA_RESIDENT          0x00
#define S390_CMMA_PRESERVED         0x02
#define S390_CMMA_ZERO              0x03
#define S390_CMMA_USAGE             0x0c
#define S390_CMMA_STABLE            0x00
#define S390_CMMA_UNUSED            0x04
#define S390_CMMA_POT_VOLATILE      0x08
#define S390_CMMA_VOLATILE          0x0c
#define S390_CMMA_NODAT             0x20

enum {
    ESSA_GET_STATE,
    ESSA_SET_STABLE,
    ESSA_SET_UNUSED,
    ESSA_SET_VOLATILE,
    ESSA_SET_POT_VOLATILE,
    ESSA_SET_STABLE_RESIDENT,
    ESSA_SET_STABLE_IF_RESIDENT,
    ESSA_SET_STABLE_NODAT,
    ESSA_NUM_OPS,

    /* Not in the architecture, see s390_cmma_guest_discards() */
    ESSA_DISCARD = 15,
};

/**
 * s390_cmma_block_exists:
 * @addr: absolute address
 *
 * Returns: whether the block at @addr has a state
 */
bool s390_cmma_block_exists(hwaddr addr);

/**
 * s390_cmma_presents_volatility:
 *
 * Returns: whether an access to a discarded volatile block is a program
 *          interruption, as opposed to a host that loses data silently
 */
bool s390_cmma_presents_volatility(void);

/**
 * s390_cmma_guest_discards:
 *
 * Returns: whether the guest may discard its own blocks by ESSA_DISCARD,
 *          which is a specification exception otherwise
 */
bool s390_cmma_guest_discards(void);

/**
 * s390_cmma_essa:
 * @cs: the CPU that executes the instruction
 * @addr: absolute address of a block that exists
 * @op: one of the ESSA_* operations that the guest may use
 *
 * A block may have to become inaccessible. That happens in safe work queued
 * on @cs, so the caller has to end the translation block.
 *
 * Returns: the state of the block before the operation
 */
uint8_t s390_cmma_essa(CPUState *cs, hwaddr addr, unsigned int op);

/**
 * s390_cmma_access:
 * @addr: absolute address that a CPU is about to access
 * @tec: translation-exception identification, set with an exception
 *
 * Has to be called in cpu_exec(), before the translation enters a TLB. The
 * debugger may call it at any other time: blocks only become accessible.
 *
 * Returns: 0, or the program interruption that the access causes
 */
int s390_cmma_access(hwaddr addr, uint64_t *tec);

/* A program interruption for the block at @addr has been presented */
void s390_cmma_fault(hwaddr addr);

typedef enum {
    S390_CMMA_RESET_NORMAL,     /* usage stays */
    S390_CMMA_RESET_CLEAR,      /* every block becomes stable */
    S390_CMMA_RESET_LOAD,       /* the memory is about to be overwritten */
} S390CmmaReset;

/**
 * s390_cmma_device_reset:
 * @type: what happens to the memory
 *
 * All CPUs have to be paused.
 */
void s390_cmma_device_reset(S390CmmaReset type);

#endif
