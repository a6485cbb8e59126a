/*
 * s390 collaborative memory management: discarding when memory is short
 *
 * Policy "pressure" looks at the memory that QEMU may still use. When less than
 * pressure-low is left, blocks are taken until pressure-high is left: unused
 * ones first, then volatile ones, and those first that were used longest ago.
 * CPUs are stopped for a millisecond at a time, and run in between.
 *
 * Several guests with this policy in one cgroup do not know of each other. Each
 * takes, of what is missing, the share that it has of what is used; then it
 * waits for as long as others need to notice, and looks again. So together they
 * take what is missing and no more, and in proportion to their size. Nobody
 * waits when memory is about to run out.
 *
 * When a block was used last is known from what makes the host look at it: that
 * the guest makes it volatile, or that its translation enters a TLB. The clock
 * of that is a generation, which ends when blocks are taken, so that it tells
 * apart what one taking and the next have to choose from.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qemu/error-report.h"
#include "qemu/madvise.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "qapi/qapi-events-machine-target.h"
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
/* Ages tell apart what is so far from each other */
#define CMMA_GENERATION_MS      1000
/* The least that a round is for: a few guests may take so much too much */
#define CMMA_ROUND_MIN          64

/* A new generation, if the last one was long enough: there are 255 */
static void cmma_next_generation(CmmaPressure *p)
{
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);

    if (now - p->generation_ms >= CMMA_GENERATION_MS) {
        p->generation_ms = now;
        qatomic_set(&p->generation, p->generation + 1);
    }
}

/*
 * Whether there is anything to take, and how old the youngest of it must be so
 * that @wanted blocks are at hand. CPUs run meanwhile and change what is
 * counted. That is harmless: the blocks are looked at again when they are taken.
 */
static bool cmma_plan(S390CmmaState *s, uint64_t wanted)
{
    CmmaPressure *p = &s->pressure;
    uint64_t of_age[CMMA_AGE_MAX + 1] = { };
    uint64_t unused = 0, older = 0;
    int age = CMMA_AGE_MAX;

    for (uint64_t gfn = 0; gfn < s->ram_blocks; gfn++) {
        uint8_t state = qatomic_read(&s->state[gfn]);
        uint8_t block_age;

        if (!(state & S390_CMMA_USAGE) || !cmma_may_take(s, gfn, state)) {
            continue;
        }
        if ((state & S390_CMMA_USAGE) == S390_CMMA_UNUSED) {
            unused++;
            continue;
        }
        block_age = cmma_age(s, gfn);
        if (block_age >= CMMA_AGE_MAX) {
            /* Before the next generation makes it a young one */
            block_age = CMMA_AGE_MAX;
            qatomic_set(&p->used[gfn], p->generation - CMMA_AGE_MAX);
        }
        of_age[block_age]++;
    }
    while (age && unused + (older += of_age[age]) < wanted) {
        age--;
    }
    p->unused_left = unused;
    p->min_age = age;
    trace_s390_cmma_pressure_plan(wanted, unused, older, age);
    return unused || older || of_age[0];
}

/* Take some blocks, with one stop of the CPUs; false: there are none */
static bool cmma_step(S390CmmaState *s)
{
    CmmaPressure *p = &s->pressure;
    const bool unused = p->unused_left;
    CmmaQuota quota = { .count = p->round, .limit_ns = CMMA_STOP_NS,
                        .strict = true, .min_age = unused ? 0 : p->min_age };
    Error *err = NULL;

    if (!cmma_discard(s, unused ? S390_CMMA_DISCARD_WHAT_UNUSED :
                         S390_CMMA_DISCARD_WHAT_VOLATILE, &quota, &err)) {
        trace_s390_cmma_pressure_refused(error_get_pretty(err));
        p->stats.refused++;
        error_free(err);
        return false;
    }
    p->stats.longest_ns = MAX(p->stats.longest_ns, quota.elapsed_ns);
    trace_s390_cmma_pressure_step(p->round, unused, quota.taken,
                                  quota.elapsed_ns);
    p->round -= quota.taken;
    if (unused) {
        p->stats.taken_unused += quota.taken;
        p->unused_left -= MIN(p->unused_left, quota.taken);
    } else {
        p->stats.taken_volatile += quota.taken;
    }
    if (quota.taken || !quota.count) {
        return true; /* what was there, or the search has not come round */
    }
    if (unused) {
        p->unused_left = 0;
        return true;
    }
    if (p->min_age) {
        uint8_t was = p->min_age;
        bool any = cmma_plan(s, p->round);

        /* What there is now is younger */
        p->min_age = p->min_age < was ? p->min_age : 0;
        return any;
    }
    return false;
}

static uint64_t cmma_taken_since(const CmmaPressure *p)
{
    return p->stats.taken_unused - p->before.taken_unused +
           p->stats.taken_volatile - p->before.taken_volatile;
}

/*
 * Of @missing bytes, the blocks that this guest is to give: as much as its
 * share of what is used.
 */
static uint64_t cmma_share(uint64_t missing, uint64_t used)
{
    double share = used ? (double)cmma_own_resident() / used : 1;

    return DIV_ROUND_UP(missing * MIN(share, 1), TARGET_PAGE_SIZE);
}

/* Begin to take this guest's share, of what is missing in all */
static bool cmma_begin_round(S390CmmaState *s, uint64_t missing, uint64_t used)
{
    CmmaPressure *p = &s->pressure;

    p->round = MAX(cmma_share(missing, used), CMMA_ROUND_MIN);
    return cmma_plan(s, p->round);
}

static bool cmma_begin(S390CmmaState *s, const CmmaRoom *room)
{
    CmmaPressure *p = &s->pressure;
    const bool stall = room->left >= p->low;

    p->acting = true;
    p->reason = stall ? S390_CMMA_PRESSURE_REASON_STALL :
                        S390_CMMA_PRESSURE_REASON_ROOM;
    p->before = p->stats;
    p->stats.episodes++;
    cmma_next_generation(p);
    /* Who waits for memory does so with whatever is left */
    return cmma_begin_round(s, p->high - (stall ? p->low : room->left),
                            room->used);
}

static int64_t cmma_end(S390CmmaState *s, const CmmaRoom *room, bool exhausted)
{
    CmmaPressure *p = &s->pressure;
    bool news = cmma_taken_since(p) || !p->exhausted;

    p->acting = false;
    p->exhausted = exhausted;
    p->stats.exhausted += exhausted;
    if (!news) {
        return CMMA_REST_MS;
    }
    qapi_event_send_s390_cmma_pressure(p->reason,
        p->stats.taken_unused - p->before.taken_unused,
        p->stats.taken_volatile - p->before.taken_volatile,
        room->left, p->exhausted);
    return exhausted ? CMMA_REST_MS : CMMA_RUN_MS;
}

/* Whether all is done that can be: what others do not give is for who is here */
static bool cmma_done(const CmmaPressure *p, const CmmaRoom *room)
{
    return p->reason == S390_CMMA_PRESSURE_REASON_STALL ? !p->round :
                                                          room->left >= p->high;
}

/* Look, take some, and say in how many milliseconds to look again */
static int64_t cmma_pressure_look(S390CmmaState *s)
{
    CmmaPressure *p = &s->pressure;
    CmmaRoom room = cmma_room(p->cgroup ?: p->own_cgroup);
    bool stalled = p->stalled;

    p->stalled = false;
    p->left = room.left;
    if (!room.known && !p->warned) {
        p->warned = true;
        warn_report("s390-cmma.policy=pressure: how much memory is left can "
                    "not be read; nothing is discarded without a stall");
    }
    if (!p->acting) {
        if (room.left >= p->low && !stalled) {
            return MIN(MAX((room.left - p->low) / CMMA_RATE, CMMA_RUN_MS),
                       CMMA_LOOK_MS);
        }
        if (!cmma_begin(s, &room)) {
            return cmma_end(s, &room, true);
        }
    } else if (cmma_done(p, &room)) {
        return cmma_end(s, &room, false);
    } else if (!p->round &&
               !cmma_begin_round(s, p->high - room.left, room.used)) {
        return cmma_end(s, &room, true);
    }
    if (!cmma_step(s)) {
        return cmma_end(s, &room, true);
    }
    /* Others get the time to give their share, if there is time */
    return p->round || room.left < p->low / 2 ? CMMA_RUN_MS : CMMA_LOOK_MS;
}

static void cmma_pressure_timer(void *opaque)
{
    S390CmmaState *s = opaque;
    CmmaPressure *p = &s->pressure;
    int64_t wait = cmma_pressure_look(s);

    /* Stopping the CPUs drops the BQL: the policy may be another one now */
    if (p->timer) {
        timer_mod(p->timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + wait);
    }
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
    timer_mod(p->timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME));
    return G_SOURCE_CONTINUE;
}

bool cmma_pressure_start(S390CmmaState *s, Error **errp)
{
    CmmaPressure *p = &s->pressure;
    int fd = -1;

    if (p->timer) {
        return true;
    }
    g_free(p->own_cgroup);
    p->own_cgroup = cmma_own_cgroup();
    if (p->cgroup && !g_file_test(p->cgroup, G_FILE_TEST_IS_DIR)) {
        error_setg(errp, "Property 'pressure-cgroup': '%s' is not a directory",
                   p->cgroup);
        return false;
    }
    if (p->stall_us) {
        fd = cmma_stall_open(p->cgroup ?: p->own_cgroup, p->stall_us, errp);
        if (fd < 0) {
            return false;
        }
        p->stall_fd = fd;
        p->stall_source = g_unix_fd_add(fd, G_IO_PRI | G_IO_ERR,
                                        cmma_pressure_stall, s);
    }
    /*
     * What is taken of a huge page stays charged until the host splits it. So
     * there are none in what is used from now on.
     */
    qemu_madvise(cmma_host(s, 0), s->ram_blocks * TARGET_PAGE_SIZE,
                 QEMU_MADV_NOHUGEPAGE);
    /* CPUs may look at it at any time from now on, so it stays */
    if (!p->used) {
        qatomic_store_release(&p->used, g_malloc0(s->ram_blocks));
    }
    p->warned = p->acting = p->stalled = false;
    p->timer = timer_new_ms(QEMU_CLOCK_REALTIME, cmma_pressure_timer, s);
    timer_mod(p->timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME));
    return true;
}

void cmma_pressure_stop(S390CmmaState *s)
{
    CmmaPressure *p = &s->pressure;

    if (p->timer) {
        timer_free(p->timer);
        p->timer = NULL;
    }
    if (p->stall_source) {
        g_source_remove(p->stall_source);
        p->stall_source = 0;
    }
    if (p->stall_fd >= 0) {
        close(p->stall_fd);
        p->stall_fd = -1;
    }
}
