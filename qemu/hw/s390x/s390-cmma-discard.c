/*
 * s390 collaborative memory management: taking blocks away from the guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-machine-target.h"
#include "exec/cputlb.h"
#include "exec/exec-all.h"
#include "system/cpus.h"
#include "system/runstate.h"
#include "system/tcg.h"
#include "hw/s390x/s390-written.h"
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

    /* Can be set while CPUs run */
    switch (qatomic_read(&s->policy)) {
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

/* Whether what migration has sent or not yet received must not change now */
static bool cmma_migration_freezes(void)
{
    return runstate_check(RUN_STATE_INMIGRATE) ||
           runstate_check(RUN_STATE_FINISH_MIGRATE) ||
           runstate_check(RUN_STATE_SAVE_VM);
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

bool cmma_may_take(S390CmmaState *s, uint64_t gfn, uint8_t state)
{
    if (cmma_absent(state)) {
        return false;
    }
    switch (state & S390_CMMA_USAGE) {
    case S390_CMMA_POT_VOLATILE:
        return !cmma_changed(s, gfn);
    case S390_CMMA_VOLATILE:
    case S390_CMMA_UNUSED:
        return true;
    default:
        return false;
    }
}

static uint8_t cmma_taken(uint8_t state)
{
    if ((state & S390_CMMA_USAGE) == S390_CMMA_POT_VOLATILE) {
        state = cmma_with_usage(state, S390_CMMA_VOLATILE);
    }
    return state | S390_CMMA_ZERO;
}

void cmma_work_discard(CPUState *cs, run_on_cpu_data data)
{
    S390CmmaState *s = s390_cmma;
    uint64_t gfn = data.host_ulong;
    uint8_t state;

    QEMU_LOCK_GUARD(&s->content_lock);

    if (!cmma_can_discard(s, NULL) || cmma_migration_freezes()) {
        return;
    }
    do {
        /* Another CPU may have changed the usage since the work was queued */
        state = qatomic_read(&s->state[gfn]);
        if (!cmma_may_take(s, gfn, state)) {
            return;
        }
    } while (!cmma_cmpxchg(s, gfn, state, cmma_taken(state)));

    cmma_work_flush(cs, data);
    cmma_drop(s, gfn, 1);
    s390_written_clear(gfn, S390_WRITTEN_CMMA);
    stat64_add(&s->discards, 1);
}

static void cmma_flush_tlb(CPUState *cs, run_on_cpu_data data)
{
    tlb_flush(cs);
}

/* Undo cmma_stop(); @stopped: the machine, and not only its CPUs */
static void cmma_start(bool stopped)
{
    RunState state;
    bool asked;

    if (!stopped) {
        resume_all_vcpus();
        return;
    }
    /* vm_start() drops what somebody asked for meanwhile, like a panic */
    asked = qemu_vmstop_requested(&state);
    vm_start();
    if (asked) {
        qemu_system_vmstop_request_prepare();
        qemu_system_vmstop_request(state);
    }
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

/* A batch: what becomes of blocks whose state is @usage in the bits @mask */
typedef struct CmmaBatch {
    uint8_t usage;
    uint8_t mask;
    /* What else has to be true; may be NULL */
    bool (*may)(S390CmmaState *s, uint64_t gfn, uint8_t state);
    /* Done to the frames first; a negative errno keeps the blocks */
    int (*frames)(S390CmmaState *s, uint64_t gfn, uint64_t count);
    uint8_t (*next)(uint8_t state);
    Stat64 *counter; /* may be NULL */
} CmmaBatch;

/*
 * How many neighbours are taken before the clock is looked at. If the disk of
 * the page file fills up, all but the last run is paged out, and only that run
 * is wasted space.
 */
#define CMMA_RUN_MAX 512

/* The same while there is nothing to take: to look at a block is quick */
#define CMMA_LOOKED 64
#define CMMA_SKIP_MAX (256 * KiB)

static bool cmma_has_frame(S390CmmaState *s, uint64_t gfn, uint8_t state)
{
    return !cmma_absent(state) || (state & CMMA_OLD);
}

static int cmma_drop_frames(S390CmmaState *s, uint64_t gfn, uint64_t count)
{
    cmma_drop(s, gfn, count);
    return 0;
}

static int cmma_keep_frames(S390CmmaState *s, uint64_t gfn, uint64_t count)
{
    return 0;
}

static uint8_t cmma_paged_out(uint8_t state)
{
    return cmma_with_usage(state, S390_CMMA_STABLE) | S390_CMMA_PRESERVED;
}

static int cmma_finish_run(S390CmmaState *s, const CmmaBatch *batch,
                           uint64_t gfn, uint64_t count)
{
    int ret = count ? batch->frames(s, gfn, count) : 0;
    uint64_t end = gfn + count;
    uint8_t state;

    if (ret || !count) {
        return ret;
    }
    /* Code as well: there is none of a block that is absent */
    cmma_invalidate_code(s, gfn, count);
    for (; gfn < end; gfn++) {
        /* All CPUs are paused; only migration may clear its bit meanwhile */
        do {
            state = qatomic_read(&s->state[gfn]);
        } while (!cmma_cmpxchg(s, gfn, state, batch->next(state)));
        s390_written_clear(gfn, S390_WRITTEN_CMMA);
    }
    if (batch->counter) {
        stat64_add(batch->counter, count);
    }
    return 0;
}

/*
 * The first block in [@gfn, @end) whose state is that of the batch, or @end.
 * CPUs are stopped meanwhile, so this looks at a word of states at a time. Only
 * migration may change one of them now, and none of the bits in @mask.
 */
static uint64_t cmma_skip(S390CmmaState *s, const CmmaBatch *batch,
                          uint64_t gfn, uint64_t end)
{
    const unsigned long ones = ~0ul / 0xff;

    for (; gfn < end; gfn++) {
        while (QEMU_IS_ALIGNED(gfn, sizeof(ones)) && end - gfn > sizeof(ones)) {
            unsigned long word = qatomic_read((unsigned long *)&s->state[gfn]);

            word = (word & ones * batch->mask) ^ ones * batch->usage;
            /* Is a byte of it zero? */
            if ((word - ones) & ~word & ones * 0x80) {
                break;
            }
            gfn += sizeof(ones);
        }
        if ((qatomic_read(&s->state[gfn]) & batch->mask) == batch->usage) {
            break;
        }
    }
    return gfn;
}

/* Take blocks in [@gfn, @end), in runs of neighbours */
static int cmma_take_range(S390CmmaState *s, const CmmaBatch *batch,
                           uint64_t gfn, uint64_t end, CmmaQuota *quota)
{
    uint64_t *hand = &s->hand[batch->usage / S390_CMMA_UNUSED];
    const uint64_t begin = gfn;
    unsigned int tries = 0;
    int ret;

    while (quota->count && gfn < end) {
        uint64_t stop = MIN(end, gfn + CMMA_SKIP_MAX);
        uint64_t first = cmma_skip(s, batch, gfn, stop);
        uint64_t most = MIN(first + MIN(quota->count, CMMA_RUN_MAX), stop);

        gfn = first;

        while (gfn < most) {
            uint8_t state = qatomic_read(&s->state[gfn]);

            if ((state & batch->mask) != batch->usage ||
                (quota->min_age && cmma_age(s, gfn) < quota->min_age) ||
                (batch->may && !batch->may(s, gfn, state))) {
                break;
            }
            gfn++;
        }
        ret = cmma_finish_run(s, batch, first, gfn - first);
        if (ret) {
            return ret;
        }
        quota->taken += gfn - first;
        quota->count -= gfn - first;
        if (gfn < most) {
            gfn++; /* this one was looked at */
        }
        if ((quota->taken || (quota->strict && (gfn == stop ||
                                                ++tries % CMMA_LOOKED == 0))) &&
            get_clock() >= quota->end) {
            quota->count = 0;
        }
    }
    *hand = gfn;
    quota->looked += gfn - begin;
    return 0;
}

/*
 * Take what the quota allows. As the hand of a clock, each search goes on where
 * the last one for blocks of this usage ended: nobody looks again at what was
 * not there, and what came back is taken last. All CPUs are paused and
 * content_lock is held.
 */
static int cmma_take(S390CmmaState *s, const CmmaBatch *batch, CmmaQuota *quota)
{
    uint64_t hand = s->hand[batch->usage / S390_CMMA_UNUSED];
    int ret = cmma_take_range(s, batch, hand, s->ram_blocks, quota);

    if (!ret && quota->count) {
        ret = cmma_take_range(s, batch, 0, hand, quota);
    }
    return ret;
}

/* Everything that @what means, in order of what it costs the guest */
static int cmma_take_all(S390CmmaState *s, S390CmmaDiscardWhat what,
                         CmmaQuota *quota)
{
    const bool kvm = s->policy == S390_CMMA_POLICY_KVM;
    const uint8_t usages[] = { S390_CMMA_UNUSED, S390_CMMA_VOLATILE,
                               S390_CMMA_POT_VOLATILE, S390_CMMA_STABLE };
    int i, ret = 0;

    for (i = 0; i < ARRAY_SIZE(usages) && !ret; i++) {
        const bool unused = usages[i] == S390_CMMA_UNUSED;
        const uint8_t present = S390_CMMA_USAGE | CMMA_ABSENT;
        CmmaBatch batch = { usages[i], present, cmma_may_take,
                            cmma_drop_frames, cmma_taken, &s->discards };

        if (what == S390_CMMA_DISCARD_WHAT_AGE) {
            batch = (CmmaBatch) { usages[i], present, NULL, cmma_keep_frames,
                                  cmma_kvm_aged, NULL };
        } else if (kvm) {
            batch = (CmmaBatch) { usages[i], S390_CMMA_USAGE, cmma_has_frame,
                                  unused ? cmma_drop_frames : cmma_page_out,
                                  cmma_kvm_evicted,
                                  unused ? &s->discards : &s->paged_out };
        }
        if (quota->usage ? usages[i] != quota->usage :
            what == S390_CMMA_DISCARD_WHAT_UNUSED ? !unused :
            what == S390_CMMA_DISCARD_WHAT_VOLATILE ?
            unused || usages[i] == S390_CMMA_STABLE : false) {
            continue;
        }
        ret = cmma_take(s, &batch, quota);

        /* What could not be thrown away is paged out */
        if (!ret && !kvm && what == S390_CMMA_DISCARD_WHAT_EVICT) {
            batch = (CmmaBatch) { usages[i], present, NULL, cmma_page_out,
                                  cmma_paged_out, &s->paged_out };
            ret = cmma_take(s, &batch, quota);
        }
    }
    return ret;
}

static bool cmma_what_possible(S390CmmaState *s, S390CmmaDiscardWhat what,
                               Error **errp)
{
    const bool kvm = s->policy == S390_CMMA_POLICY_KVM;

    switch (what) {
    case S390_CMMA_DISCARD_WHAT_EVICT:
        return cmma_can_page_out(s, errp) && cmma_can_discard(s, errp);
    case S390_CMMA_DISCARD_WHAT_AGE:
        if (!kvm) {
            error_setg(errp, "Blocks are old only with s390-cmma.policy=kvm");
        }
        return kvm;
    default:
        if (kvm) {
            error_setg(errp, "KVM does not take blocks but by swapping out: "
                       "use 'evict'");
            return false;
        }
        return cmma_can_discard(s, errp);
    }
}

/*
 * Paging out replaces the frame of a block that a device may write to at this
 * moment, which only a stopped machine excludes. To discard, it is enough to
 * stop the CPUs: what is unused or volatile is no target of a device.
 *
 * Stopping drops the BQL, and a migration can end meanwhile, which stops or
 * starts the machine: what was true before has to be looked at again. The BQL
 * is held from the last look on.
 */
static bool cmma_stop(bool machine, Error **errp)
{
    int ret;

    if (machine && runstate_is_running()) {
        ret = vm_stop(RUN_STATE_PAUSED);
        if (!runstate_check(RUN_STATE_PAUSED)) {
            error_setg(errp, "The machine was stopped by something else");
            return false;
        }
        if (ret) {
            cmma_start(true);
            error_setg(errp, "The machine cannot be stopped: a block device "
                       "failed to flush");
            return false;
        }
        return true;
    }

    do {
        pause_all_vcpus();
    } while (!cmma_vcpus_stopped());
    if (machine && runstate_is_running()) {
        resume_all_vcpus();
        error_setg(errp, "The machine was started by something else");
        return false;
    }
    return true;
}

bool cmma_discard(S390CmmaState *s, S390CmmaDiscardWhat what, CmmaQuota *quota,
                  Error **errp)
{
    const bool machine = what == S390_CMMA_DISCARD_WHAT_EVICT ||
                         what == S390_CMMA_DISCARD_WHAT_AGE;
    const bool running = runstate_is_running();
    CPUState *cs;
    int64_t start;
    int ret = 0;
    ERRP_GUARD();

    if (!cmma_what_possible(s, what, errp)) {
        return false;
    }

    /*
     * While CPUs and devices run, as it takes time. What is written after this
     * is in the log again, where s390_written_clear() and _test() find it.
     */
    s390_written_harvest();
    start = get_clock();
    if (!cmma_stop(machine, errp)) {
        return false;
    }
    s->stops++;
    quota->vcpus_stopped = cmma_vcpus_stopped();
    /* Not earlier: pausing drops the BQL, and a migration can go on */
    if (cmma_migration_freezes()) {
        error_setg(errp, "Guest memory cannot be discarded while it migrates");
    } else {
        quota->end = quota->limit_ns ? get_clock() + quota->limit_ns
                                     : INT64_MAX;
        WITH_QEMU_LOCK_GUARD(&s->content_lock) {
            ret = cmma_take_all(s, what, quota);
        }
        /* The work is done before the CPU runs the guest again */
        CPU_FOREACH(cs) {
            if (quota->taken) {
                async_run_on_cpu(cs, cmma_flush_tlb, RUN_ON_CPU_NULL);
            }
        }
    }
    quota->vcpus_stopped = quota->vcpus_stopped && cmma_vcpus_stopped();
    quota->elapsed_ns = get_clock() - start;
    cmma_start(machine && running);
    if (ret) {
        error_setg_errno(errp, -ret, "Paging out ended after %" PRIu64
                         " blocks", quota->taken);
    }
    return !*errp;
}

S390CmmaDiscardInfo *qmp_x_s390_cmma_discard(S390CmmaDiscardWhat what,
                                             bool has_count, uint64_t count,
                                             bool has_limit_us,
                                             uint32_t limit_us,
                                             Error **errp)
{
    S390CmmaDiscardInfo *info;
    /* No time at all is nearly that */
    CmmaQuota quota = {
        .count = has_count ? count : UINT64_MAX,
        .limit_ns = has_limit_us ? MAX(limit_us * (int64_t)SCALE_US, 1) : 0,
    };

    if (!s390_cmma || !tcg_enabled()) {
        error_setg(errp, "Blocks can be discarded only with accel=tcg");
        return NULL;
    }
    if (!cmma_discard(s390_cmma, what, &quota, errp)) {
        return NULL;
    }
    info = g_new0(S390CmmaDiscardInfo, 1);
    info->discarded = quota.taken;
    info->vcpus_stopped = quota.vcpus_stopped;
    info->elapsed_ns = quota.elapsed_ns;
    return info;
}
