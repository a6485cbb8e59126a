/*
 * s390 collaborative memory management: discarding when memory is short
 *
 * Policy "pressure" looks at the memory that QEMU may still use. When less than
 * pressure-low is left, blocks are taken until pressure-high is left: unused
 * ones first, then volatile ones, those first that were used longest ago, and
 * then potentially volatile ones. CPUs are stopped for a millisecond at a time,
 * and run in between.
 *
 * Several guests with this policy in one cgroup do not know of each other.
 * Each is to give, of what is missing, the share that it has of what is used,
 * but only blocks that were not used for some time, which depends on nothing
 * but what is left. So all look for blocks of the same age, and who has old
 * ones gives them before others give younger ones. Each waits for as long as
 * others need to notice, takes its share, waits again and looks what is still
 * missing, of which it gives more if it has enough. Nobody waits when memory
 * is about to run out.
 *
 * When a block was used last is known from what makes the host look at it:
 * that the guest makes it volatile, or that its translation enters a TLB. Two
 * bytes for each block have the time of that, and whether it was used again
 * and again. If that did not count, a guest that reads large files once would
 * take what others need every few seconds.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib-unix.h>
#include "qemu/error-report.h"
#include "qemu/madvise.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/qapi-events-machine-target.h"
#include "system/replay.h"
#include "system/runstate.h"
#include "system/system.h"
#include "system/tcg.h"
#include "cpu.h"
#include "s390-cmma-internal.h"
#include "trace.h"

/* The CPUs are stopped for so long, and then run for so long */
#define CMMA_STOP_NS            SCALE_MS
#define CMMA_RUN_MS             10
/* Memory is not used up faster than so many bytes in a millisecond */
#define CMMA_RATE               (512 * KiB)
/* The longest time between two looks; how long others need to notice */
#define CMMA_LOOK_MS            250
/* When there was nothing to take, or it was not possible */
#define CMMA_REST_MS            1000
/* The age at pressure-high, and when ages have to be bounded again */
#define CMMA_OLD_AGE            (64 * CMMA_AGES_PER_SECOND)
#define CMMA_HALVINGS           11      /* ... until it is 0 */
#define CMMA_BOUND_MS           (120 * 1000)
/* What is left is the mean of so many looks */
#define CMMA_LOOKS              32
/* How many times its share a guest gives if others do not */
#define CMMA_BOOST_MAX          16
/* The least that a round is for: a few guests may take so much too much */
#define CMMA_ROUND_MIN          64

static int64_t cmma_now(void)
{
    return qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

static uint16_t cmma_time(void)
{
    return cmma_now() * CMMA_AGES_PER_SECOND / 1000 & CMMA_TIME;
}

/* The age of a block, whose time does not come round to be young again */
static uint16_t cmma_age_bounded(S390CmmaState *s, uint64_t gfn)
{
    CmmaPressure *p = &s->pressure;
    uint16_t used = qatomic_read(&p->used[gfn]);
    uint16_t oldest = (p->now - CMMA_AGE_MAX) & CMMA_TIME;

    if (((p->now - used) & CMMA_TIME) > CMMA_AGE_MAX) {
        /* Unless a CPU has used it just now */
        qatomic_cmpxchg(&p->used[gfn], used, oldest);
        used = oldest;
    }
    return cmma_age_of(s, used);
}

typedef struct CmmaSupply {
    uint64_t unused;
    uint64_t clean;         /* potentially volatile, not changed */
    uint64_t of_age[CMMA_AGE_MAX + 1];
    bool any;
} CmmaSupply;

/*
 * What there is to take. CPUs run meanwhile and change what is counted. That is
 * harmless: blocks are looked at again when they are taken.
 */
static void cmma_count(S390CmmaState *s, CmmaSupply *supply)
{
    const unsigned long usages = ~0ul / 0xff * S390_CMMA_USAGE;

    memset(supply, 0, sizeof(*supply));
    s->pressure.bounded_ms = cmma_now();
    for (uint64_t gfn = 0; gfn < s->ram_blocks; gfn++) {
        uint8_t state = qatomic_read(&s->state[gfn]);

        if (!(state & S390_CMMA_USAGE)) {
            /* Most are stable: look at so many at a time */
            if (QEMU_IS_ALIGNED(gfn, sizeof(usages)) &&
                s->ram_blocks - gfn > sizeof(usages) &&
                !(qatomic_read((unsigned long *)&s->state[gfn]) & usages)) {
                gfn += sizeof(usages) - 1;
            }
        } else if ((state & S390_CMMA_USAGE) == S390_CMMA_VOLATILE) {
            supply->of_age[cmma_age_bounded(s, gfn)] += !cmma_absent(state);
            supply->any |= !cmma_absent(state);
        } else if (cmma_may_take(s, gfn, state)) {
            const uint8_t usage = state & S390_CMMA_USAGE;

            supply->unused += usage == S390_CMMA_UNUSED;
            supply->clean += usage == S390_CMMA_POT_VOLATILE;
            supply->any = true;
        }
    }
}

/*
 * How old a block has to be, which all guests find alike as it depends on what
 * is left: at pressure-high it is a minute, at a quarter of pressure-low any
 * will do. So what one guest has just used stays as long as another one has
 * older blocks. It is the mean of some looks, as the others look between steps
 * of this one. If what is left does not change, nobody has any, and it is
 * less.
 */
static uint16_t cmma_old(const CmmaPressure *p, uint64_t left)
{
    const uint64_t least = p->low / 4;
    uint64_t halvings = p->still;

    left = left < least ? least : p->mean_left;
    if (left < p->high) {
        halvings += (p->high - left) * CMMA_HALVINGS / (p->high - least);
    }
    return halvings < CMMA_HALVINGS ? CMMA_OLD_AGE >> halvings : 0;
}

static void cmma_judge(CmmaPressure *p, uint64_t left)
{
    const uint64_t margin = (p->high - p->low) / 16;

    p->mean_left = p->mean_left / CMMA_LOOKS * (CMMA_LOOKS - 1) +
                   left / CMMA_LOOKS;
    if (cmma_now() < p->judge_ms) {
        return;
    }
    p->judge_ms = cmma_now() + CMMA_LOOK_MS;
    if (p->reason == S390_CMMA_PRESSURE_REASON_ROOM &&
        (left > p->judged_left + margin || left + margin < p->judged_left)) {
        p->still = 0;
    } else {
        p->still = MIN(p->still + 1, CMMA_HALVINGS);
    }
    p->judged_left = left;
    p->replan_ms = 0;
}

/*
 * Plan a round for @wanted blocks: the oldest ones, as far as they are as old
 * as cmma_old() says. If there are too few, it ends with these. False: there is
 * nothing to take, of whatever age.
 */
static bool cmma_plan(S390CmmaState *s, uint64_t wanted, uint64_t left)
{
    CmmaPressure *p = &s->pressure;
    CmmaSupply supply;
    const uint16_t old = cmma_old(p, left);
    uint64_t found;
    int age = CMMA_AGE_MAX;

    p->planned = p->now;
    cmma_count(s, &supply);
    found = supply.unused + supply.of_age[age];
    while (age > old && found < wanted) {
        found += supply.of_age[--age];
    }
    p->usage = supply.unused ? S390_CMMA_UNUSED : S390_CMMA_VOLATILE;
    p->min_age = age;
    p->passed = p->round_taken = 0;
    if (!old) {
        found += supply.clean;
    }
    trace_s390_cmma_pressure_plan(wanted, supply.unused, found, age);
    p->plenty = found >= wanted;
    /* To count takes long: if none is so old, not until others may be */
    p->replan_ms = found ? 0 : cmma_now() + CMMA_LOOK_MS;
    p->round = MIN(wanted, found);
    return supply.any;
}

/* All blocks of this usage and age were looked at */
static void cmma_come_round(CmmaPressure *p)
{
    p->passed = 0;
    if (p->usage == S390_CMMA_UNUSED) {
        p->usage = S390_CMMA_VOLATILE;
    } else if (p->usage == S390_CMMA_VOLATILE && !p->min_age) {
        p->usage = S390_CMMA_POT_VOLATILE;
    } else {
        p->round = 0;
    }
}

typedef enum CmmaStep {
    CMMA_STEP_GOES_ON,
    CMMA_STEP_EXHAUSTED,
    CMMA_STEP_REFUSED,
} CmmaStep;

/* Take some blocks, with one stop of the CPUs */
static CmmaStep cmma_step(S390CmmaState *s)
{
    CmmaPressure *p = &s->pressure;
    CmmaQuota quota = {
        .count = p->round,
        .limit_ns = CMMA_STOP_NS,
        .strict = true,
        .usage = p->usage,
    };
    Error *err = NULL;

    if (p->usage == S390_CMMA_VOLATILE) {
        quota.min_age = p->min_age;
    }
    if (!cmma_discard(s, S390_CMMA_DISCARD_WHAT_VOLATILE, &quota, &err)) {
        trace_s390_cmma_pressure_refused(error_get_pretty(err));
        p->stats.refused++;
        error_free(err);
        return CMMA_STEP_REFUSED;
    }
    p->stats.longest_ns = MAX(p->stats.longest_ns, quota.elapsed_ns);
    trace_s390_cmma_pressure_step(p->round, p->usage, quota.taken,
                                  quota.elapsed_ns);
    p->round -= quota.taken;
    p->round_taken += quota.taken;
    if (p->usage == S390_CMMA_UNUSED) {
        p->stats.taken_unused += quota.taken;
    } else {
        p->stats.taken_volatile += quota.taken;
    }
    p->passed = quota.taken ? 0 : p->passed + quota.looked;
    if (p->passed >= s->ram_blocks) {
        cmma_come_round(p);
    }
    /* What was counted cannot be taken, and there is nothing younger */
    return !p->round && !p->round_taken && !p->min_age ? CMMA_STEP_EXHAUSTED :
                                                         CMMA_STEP_GOES_ON;
}

static uint64_t cmma_taken_since(const CmmaPressure *p)
{
    return p->stats.taken_unused - p->before.taken_unused +
           p->stats.taken_volatile - p->before.taken_volatile;
}

/* The blocks that are this guest's share of @missing bytes, @boost times */
static uint64_t cmma_share(uint64_t missing, uint64_t used, unsigned int boost)
{
    double share = used ? (double)cmma_own_resident() / used * boost : 1;
    uint64_t blocks = DIV_ROUND_UP(missing * MIN(share, 1), TARGET_PAGE_SIZE);

    return MAX(blocks, CMMA_ROUND_MIN);
}

/* False: there is nothing to take */
static bool cmma_begin_round(S390CmmaState *s, const CmmaRoom *room)
{
    CmmaPressure *p = &s->pressure;

    p->wait_until = cmma_now() + CMMA_LOOK_MS;
    if (p->reason == S390_CMMA_PRESSURE_REASON_STALL) {
        /* Who waits for memory does so with whatever is left */
        return cmma_plan(s, p->want - MIN(p->want, cmma_taken_since(p)),
                         room->left);
    }
    /* Others had too little for their share, or none that is so old */
    p->boost = p->plenty ? MIN(p->boost * 2, CMMA_BOOST_MAX) : 1;
    return cmma_plan(s, cmma_share(p->high - room->left, room->used, p->boost),
                     room->left);
}

static bool cmma_begin(S390CmmaState *s, const CmmaRoom *room)
{
    CmmaPressure *p = &s->pressure;

    p->acting = true;
    p->stalled = false;
    p->reason = room->left >= p->low ? S390_CMMA_PRESSURE_REASON_STALL :
                                       S390_CMMA_PRESSURE_REASON_ROOM;
    p->want = cmma_share(p->high - p->low, room->used, 1);
    p->before = p->stats;
    p->stats.episodes++;
    p->plenty = false;
    p->judge_ms = cmma_now() + CMMA_LOOK_MS;
    p->judged_left = p->mean_left = room->left;
    p->still = 0;
    return cmma_begin_round(s, room);
}

static int64_t cmma_end(S390CmmaState *s, const CmmaRoom *room, bool exhausted)
{
    CmmaPressure *p = &s->pressure;
    bool news = cmma_taken_since(p) || !p->exhausted;

    p->acting = false;
    p->exhausted = exhausted;
    p->stats.exhausted += exhausted;
    if (news) {
        qapi_event_send_s390_cmma_pressure(p->reason,
            p->stats.taken_unused - p->before.taken_unused,
            p->stats.taken_volatile - p->before.taken_volatile,
            room->left, exhausted);
    }
    return exhausted ? CMMA_REST_MS : CMMA_RUN_MS;
}

/* Whether this guest has done what it has to */
static bool cmma_done(const CmmaPressure *p, const CmmaRoom *room)
{
    /* When memory is short by now, the next look begins with that */
    return p->reason == S390_CMMA_PRESSURE_REASON_STALL ?
           cmma_taken_since(p) >= p->want || room->left < p->low :
           room->left >= p->high;
}

/* Somebody looks at the machine as it is */
static bool cmma_must_not_touch(void)
{
    return runstate_check(RUN_STATE_DEBUG) ||
           runstate_check(RUN_STATE_GUEST_PANICKED) ||
           qemu_system_dump_in_progress();
}

/* Look, take some, and say in how many milliseconds to look again */
static int64_t cmma_pressure_look(S390CmmaState *s)
{
    CmmaPressure *p = &s->pressure;
    CmmaRoom room = cmma_room(p->directory);

    p->room = room;
    qatomic_set(&p->now, cmma_time());
    if (cmma_now() - p->bounded_ms > CMMA_BOUND_MS) {
        CmmaSupply supply;

        cmma_count(s, &supply);
    }
    if (cmma_must_not_touch()) {
        return CMMA_REST_MS;
    }
    if (!p->acting) {
        if (room.left >= p->low && !p->stalled) {
            p->exhausted = p->exhausted && room.left < p->high;
            return MIN(MAX((room.left - p->low) / CMMA_RATE, CMMA_RUN_MS),
                       CMMA_LOOK_MS);
        }
        if (!cmma_begin(s, &room)) {
            return cmma_end(s, &room, true);
        }
    } else if (cmma_done(p, &room)) {
        return cmma_end(s, &room, false);
    }
    cmma_judge(p, room.left);
    if (!p->round && cmma_now() >= p->replan_ms &&
        !cmma_begin_round(s, &room)) {
        return cmma_end(s, &room, true);
    }
    /* Others get the time to notice what is missing, if there is time */
    if (cmma_now() < p->wait_until && room.left >= p->low / 2 &&
        p->reason == S390_CMMA_PRESSURE_REASON_ROOM) {
        return CMMA_RUN_MS;
    }
    if (!p->round) {
        return CMMA_RUN_MS;
    }
    switch (cmma_step(s)) {
    case CMMA_STEP_EXHAUSTED:
        return cmma_end(s, &room, true);
    case CMMA_STEP_REFUSED:
        return CMMA_REST_MS;
    default:
        return CMMA_RUN_MS;
    }
}

/* The policy cannot change meanwhile: only this thread does that */
static void cmma_pressure_timer(void *opaque)
{
    S390CmmaState *s = opaque;
    int64_t wait = cmma_pressure_look(s);

    timer_mod(s->pressure.timer, cmma_now() + wait);
}

static gboolean cmma_pressure_stall(gint fd, GIOCondition condition,
                                    gpointer opaque)
{
    S390CmmaState *s = opaque;
    CmmaPressure *p = &s->pressure;

    if (condition & (G_IO_ERR | G_IO_NVAL)) {
        warn_report("s390-cmma.policy=pressure: what told of stalls is gone");
        p->stall_source = 0;
        return G_SOURCE_REMOVE;
    }
    p->stats.stalls++;
    p->stalled = true;
    timer_mod(p->timer, cmma_now());
    return G_SOURCE_CONTINUE;
}

static bool cmma_pressure_possible(S390CmmaState *s, Error **errp)
{
    if (!tcg_enabled()) {
        error_setg(errp, "Policy 'pressure' needs accel=tcg");
        return false;
    }
    if (replay_mode != REPLAY_MODE_NONE) {
        error_setg(errp, "Policy 'pressure' cannot be recorded or replayed: "
                   "it depends on the memory of the host");
        return false;
    }
    if (s->poison || should_mlock(mlock_state)) {
        error_setg(errp, "Policy 'pressure' frees no memory with 'poison' or "
                   "with locked memory");
        return false;
    }
    return true;
}

bool cmma_pressure_start(S390CmmaState *s, Error **errp)
{
    CmmaPressure *p = &s->pressure;
    g_autofree char *directory = NULL;

    if (p->timer) {
        return true;
    }
    if (!cmma_pressure_possible(s, errp)) {
        return false;
    }
    if (p->cgroup) {
        directory = realpath(p->cgroup, NULL);
        if (!directory || !cmma_is_cgroup(directory)) {
            error_setg(errp, "Property 'pressure-cgroup': '%s' is not the "
                       "directory of a memory cgroup", p->cgroup);
            return false;
        }
    }
    if (p->stall_us) {
        p->stall_fd = cmma_stall_open(directory, p->stall_us, errp);
        if (p->stall_fd < 0) {
            return false;
        }
        p->stall_source = g_unix_fd_add(p->stall_fd, G_IO_PRI | G_IO_ERR,
                                        cmma_pressure_stall, s);
    }
    p->directory = g_steal_pointer(&directory);
    /*
     * What is taken of a huge page stays charged until the host splits it. So
     * there are none in what is used from now on.
     */
    qemu_madvise(cmma_host(s, 0), s->ram_blocks * TARGET_PAGE_SIZE,
                 QEMU_MADV_NOHUGEPAGE);
    /* CPUs may look at it at any time from now on, so it stays */
    p->now = cmma_time();
    if (!p->used) {
        uint16_t *used = g_new(uint16_t, s->ram_blocks);

        for (uint64_t gfn = 0; gfn < s->ram_blocks; gfn++) {
            used[gfn] = p->now;
        }
        qatomic_store_release(&p->used, used);
    }
    p->acting = p->stalled = p->exhausted = false;
    p->bounded_ms = cmma_now();
    p->timer = timer_new_ms(QEMU_CLOCK_REALTIME, cmma_pressure_timer, s);
    timer_mod(p->timer, cmma_now());
    return true;
}

void cmma_pressure_stop(S390CmmaState *s)
{
    CmmaPressure *p = &s->pressure;

    if (!p->timer) {
        return;
    }
    timer_free(p->timer);
    p->timer = NULL;
    if (p->stall_source) {
        g_source_remove(p->stall_source);
        p->stall_source = 0;
    }
    if (p->stall_fd >= 0) {
        close(p->stall_fd);
        p->stall_fd = -1;
    }
    g_clear_pointer(&p->directory, free);
    /* As memory is without this policy */
    qemu_madvise(cmma_host(s, 0), s->ram_blocks * TARGET_PAGE_SIZE,
                 QEMU_MADV_HUGEPAGE);
}
