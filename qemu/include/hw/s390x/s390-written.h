/*
 * s390 written blocks: which 4 KiB blocks of guest memory were written
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_S390_WRITTEN_H
#define HW_S390_WRITTEN_H

/* Who asks; each has a record of its own */
typedef enum S390WrittenClient {
    S390_WRITTEN_SKEYS,
    S390_WRITTEN_CMMA,
} S390WrittenClient;

/**
 * s390_written_init:
 *
 * Start to record writes to the initial memory of the machine. Only TCG needs
 * that. Until a client forgets it, every block counts as written.
 */
void s390_written_init(void);

/**
 * s390_written_test:
 * @gfn: number of the block
 * @client: who asks
 *
 * Writes by devices are always seen when they are complete. Writes by CPUs
 * make a block written, too, but a CPU that is in cpu_exec() while the record
 * is cleared may go on to write unseen until its TLB is flushed: who depends
 * on writes by CPUs has to see them translate.
 *
 * May be called by any thread, with or without the BQL.
 *
 * Returns: whether the block has been written since @client cleared its
 *          record of it; true for blocks that are not in initial memory
 */
bool s390_written_test(uint64_t gfn, S390WrittenClient client);

/**
 * s390_written_clear:
 * @gfn: number of the block
 * @client: whose record to clear
 *
 * A write that was complete before the call is forgotten, one that starts
 * after it is recorded. What other clients know of the block stays. May be
 * called by any thread, with or without the BQL.
 */
void s390_written_clear(uint64_t gfn, S390WrittenClient client);

/**
 * s390_written_clear_range:
 * @gfn: number of the first block
 * @count: how many blocks
 * @client: whose record to clear
 *
 * The same for many blocks, by one pass through all TLBs. Needs the BQL.
 */
void s390_written_clear_range(uint64_t gfn, uint64_t count,
                              S390WrittenClient client);

/**
 * s390_written_harvest:
 *
 * Move everything that the dirty log knows to the records of the clients, by
 * one pass through all TLBs. Clearing many blocks afterwards is cheap: only
 * those written since then need a pass of their own. Needs the BQL.
 */
void s390_written_harvest(void);

#endif
