/*
 * s390 collaborative memory management: what the parts of the device share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_S390_CMMA_INTERNAL_H
#define HW_S390_CMMA_INTERNAL_H

#include "qemu/stats64.h"
#include "qemu/thread.h"
#include "qapi/qapi-types-machine-target.h"
#include "exec/memory.h"
#include "hw/s390x/s390-cmma.h"
#include "hw/s390x/storage-attributes.h"

/* Software bit of the state byte: not yet sent by migration */
#define CMMA_MIG_DIRTY              0x80
#define CMMA_GUEST_BITS             (S390_CMMA_USAGE | S390_CMMA_CONTENT | \
                                     S390_CMMA_NODAT)

OBJECT_DECLARE_TYPE(S390CmmaState, S390CmmaClass, S390_CMMA)

struct S390CmmaState {
    S390StAttribState parent_obj;

    S390CmmaPolicy policy;
    S390CmmaStrictUnused strict_unused;
    uint64_t seed;
    uint8_t percent;

    uint8_t *state;
    uint64_t blocks;

    /* Blocks can be taken away from initial memory, [0, ram_blocks) */
    MemoryRegion *ram;
    uint64_t ram_blocks;

    /* Serializes everything that makes resident blocks inaccessible */
    QemuMutex discard_lock;

    bool migrating;
    size_t mig_dirty;

    size_t draws;
    Stat64 essa[ESSA_NUM_OPS];
    Stat64 discards;
    Stat64 faults;
    Stat64 violations;
};

struct S390CmmaClass {
    S390StAttribClass parent_class;
    DeviceRealize parent_realize;
};

/* NULL unless TCG runs the machine */
extern S390CmmaState *s390_cmma;

static inline bool cmma_is(uint8_t state, uint8_t usage, uint8_t content)
{
    return (state & (S390_CMMA_USAGE | S390_CMMA_CONTENT)) ==
           (usage | content);
}

/* Whether a CPU that accesses the block has to do more than just that */
static inline bool cmma_traps(S390CmmaState *s, uint8_t state)
{
    return (state & S390_CMMA_CONTENT) != S390_CMMA_RESIDENT ||
           (s->strict_unused == S390_CMMA_STRICT_UNUSED_ALL &&
            (state & S390_CMMA_USAGE) == S390_CMMA_UNUSED);
}

/* The state of a block, s390-cmma.c: */

/* Change the state of block @gfn if it still is @old */
bool cmma_cmpxchg(S390CmmaState *s, uint64_t gfn, uint8_t old, uint8_t new);
uint8_t cmma_read(S390CmmaState *s, uint64_t gfn);

/* Taking blocks away, s390-cmma-discard.c: */

bool cmma_can_discard(S390CmmaState *s, Error **errp);
/* Whether the policy takes a block that has just become volatile */
bool cmma_policy_discards(S390CmmaState *s);
/* Safe work on the block whose number is @data: no CPU is in cpu_exec() */
void cmma_work_flush(CPUState *cs, run_on_cpu_data data);
void cmma_work_discard(CPUState *cs, run_on_cpu_data data);

/* Storage attributes class, s390-cmma-stattrib.c: */

void cmma_stattrib_class_init(S390StAttribClass *sac);

#endif
