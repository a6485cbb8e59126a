/*
 * s390 collaborative memory management: taking blocks away from the guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-machine-target.h"
#include "exec/cputlb.h"
#include "exec/exec-all.h"
#include "exec/ram_addr.h"
#include "migration/misc.h"
#include "system/cpus.h"
#include "system/runstate.h"
#include "system/tcg.h"
#include "cpu.h"
#include "s390-cmma-internal.h"
#include "trace.h"

/* A 64-bit mix of @x without visible pattern (the finalizer of splitmix64) */
static uint64_t cmma_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

bool cmma_policy_discards(S390CmmaState *s)
{
    uint64_t draw;

    switch (s->policy) {
    case S390_CMMA_POLICY_ALWAYS:
        return true;
    case S390_CMMA_POLICY_RANDOM:
        /* A counter makes the sequence repeatable without a lock */
        draw = qatomic_fetch_inc(&s->draws);
        return cmma_mix(s->seed + draw * 0x9e3779b97f4a7c15ull) % 100 <
               s->percent;
    default:
        return false;
    }
}

/* Forget what was translated from blocks that became inaccessible */
static void cmma_invalidate_code(S390CmmaState *s, uint64_t gfn, uint64_t count)
{
    ram_addr_t ram_addr = memory_region_get_ram_addr(s->ram) +
                          gfn * TARGET_PAGE_SIZE;

    if (tcg_enabled()) {
        tb_invalidate_phys_range(ram_addr,
                                 ram_addr + count * TARGET_PAGE_SIZE - 1);
    }
}

/* Return blocks that no CPU can access any more to the operating system */
static void cmma_drop(S390CmmaState *s, uint64_t gfn, uint64_t count)
{
    hwaddr offset = gfn * TARGET_PAGE_SIZE;
    uint64_t size = count * TARGET_PAGE_SIZE;

    cmma_invalidate_code(s, gfn, count);
    if (ram_block_discard_range(s->ram->ram_block, offset, size)) {
        /* The block has to be zero when it is accessed again, no matter what */
        memset(memory_region_get_ram_ptr(s->ram) + offset, 0, size);
    }
    memory_region_set_dirty(s->ram, offset, size);
    stat64_add(&s->discards, count);
    trace_s390_cmma_drop(offset, count);
}

bool cmma_can_discard(S390CmmaState *s, Error **errp)
{
    RAMBlock *rb = s->ram->ram_block;
    ERRP_GUARD();

    if (rb->fd >= 0 || qemu_ram_is_shared(rb) ||
        qemu_ram_pagesize(rb) != TARGET_PAGE_SIZE) {
        error_setg(errp, "Guest memory of this kind cannot be discarded");
        error_append_hint(errp, "Use private anonymous memory with pages of "
                          "4 KiB, not a file or huge pages.\n");
        return false;
    }
    if (ram_block_discard_is_disabled() || migration_in_incoming_postcopy() ||
        migration_in_bg_snapshot()) {
        error_setg(errp, "Discarding of guest memory is disabled");
        error_append_hint(errp, "A device or a migration that is active needs "
                          "all guest memory to stay in place.\n");
        return false;
    }
    return true;
}

/* Whether what migration has sent or not yet received must not change now */
static bool cmma_migration_freezes(void)
{
    return runstate_check(RUN_STATE_INMIGRATE) ||
           runstate_check(RUN_STATE_FINISH_MIGRATE);
}

void cmma_work_flush(CPUState *cs, run_on_cpu_data data)
{
    S390CmmaState *s = s390_cmma;
    uint64_t gfn = data.host_ulong;

    if (tcg_enabled()) {
        tlb_flush_phys_page_exclusive(gfn * TARGET_PAGE_SIZE);
        cmma_invalidate_code(s, gfn, 1);
    }
}

void cmma_work_discard(CPUState *cs, run_on_cpu_data data)
{
    S390CmmaState *s = s390_cmma;
    uint64_t gfn = data.host_ulong;
    uint8_t state;

    QEMU_LOCK_GUARD(&s->discard_lock);

    /* Another CPU may have changed the usage since the work was queued */
    state = qatomic_read(&s->state[gfn]);
    if (cmma_is(state, S390_CMMA_VOLATILE, S390_CMMA_RESIDENT) &&
        cmma_can_discard(s, NULL) && !cmma_migration_freezes() &&
        cmma_cmpxchg(s, gfn, state, state | S390_CMMA_ZERO)) {
        cmma_work_flush(cs, data);
        cmma_drop(s, gfn, 1);
        memory_region_reset_dirty(s->ram, gfn * TARGET_PAGE_SIZE,
                                  TARGET_PAGE_SIZE, DIRTY_MEMORY_VGA);
    }
}

static void cmma_flush_tlb(CPUState *cs, run_on_cpu_data data)
{
    tlb_flush(cs);
}

static bool cmma_vcpus_stopped(void)
{
    CPUState *cs;

    CPU_FOREACH(cs) {
        if (!cpu_is_stopped(cs)) {
            return false;
        }
    }
    return true;
}

/* Discard up to @count resident blocks of usage @usage; all CPUs are paused */
static uint64_t cmma_discard_usage(S390CmmaState *s, uint8_t usage,
                                   uint64_t count)
{
    const uint64_t size = s->ram_blocks * TARGET_PAGE_SIZE;
    uint64_t discarded = 0, run = 0, gfn;
    DirtyBitmapSnapshot *written;
    CPUState *cs;

    for (gfn = 0; gfn < s->ram_blocks && discarded < count; gfn++) {
        uint8_t state = qatomic_read(&s->state[gfn]);

        if (cmma_is(state, usage, S390_CMMA_RESIDENT) &&
            cmma_cmpxchg(s, gfn, state, state | S390_CMMA_ZERO)) {
            discarded++;
            run++;
        } else if (run) {
            cmma_drop(s, gfn - run, run);
            run = 0;
        }
    }
    if (run) {
        cmma_drop(s, gfn - run, run);
    }

    /* The work is done before the CPU runs the guest again */
    CPU_FOREACH(cs) {
        async_run_on_cpu(cs, cmma_flush_tlb, RUN_ON_CPU_NULL);
    }

    /* Blocks that are zero now are clean; keep what the log knew of others */
    written = memory_region_snapshot_and_clear_dirty(s->ram, 0, size,
                                                     DIRTY_MEMORY_VGA);
    for (gfn = 0; gfn < s->ram_blocks; gfn++) {
        uint8_t state = qatomic_read(&s->state[gfn]);

        if (cmma_is(state, S390_CMMA_STABLE, S390_CMMA_ZERO) &&
            memory_region_snapshot_get_dirty(s->ram, written,
                                             gfn * TARGET_PAGE_SIZE,
                                             TARGET_PAGE_SIZE)) {
            cmma_cmpxchg(s, gfn, state, state & ~S390_CMMA_CONTENT);
        }
    }
    g_free(written);
    return discarded;
}

S390CmmaDiscardInfo *qmp_x_s390_cmma_discard(S390CmmaDiscardWhat what,
                                             bool has_count, uint64_t count,
                                             Error **errp)
{
    S390CmmaState *s = s390_cmma;
    S390CmmaDiscardInfo *info;
    int64_t start;

    if (!s || !tcg_enabled()) {
        error_setg(errp, "Blocks can be discarded only with accel=tcg");
        return NULL;
    }
    if (!cmma_can_discard(s, errp)) {
        return NULL;
    }

    start = get_clock();
    pause_all_vcpus();
    /* Not earlier: pausing drops the BQL, and a migration can go on */
    if (cmma_migration_freezes()) {
        resume_all_vcpus();
        error_setg(errp, "Guest memory cannot be discarded while it migrates");
        return NULL;
    }
    info = g_new0(S390CmmaDiscardInfo, 1);
    info->vcpus_stopped = cmma_vcpus_stopped();
    WITH_QEMU_LOCK_GUARD(&s->discard_lock) {
        info->discarded = cmma_discard_usage(s,
            what == S390_CMMA_DISCARD_WHAT_VOLATILE ? S390_CMMA_VOLATILE
                                                    : S390_CMMA_UNUSED,
            has_count ? count : UINT64_MAX);
    }
    info->vcpus_stopped = info->vcpus_stopped && cmma_vcpus_stopped();
    info->elapsed_ns = get_clock() - start;
    resume_all_vcpus();
    return info;
}

