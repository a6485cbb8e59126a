/*
 * s390 collaborative memory management: what the monitor shows
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/qapi-builtin-visit.h"
#include "qapi/qapi-commands-machine-target.h"
#include "qobject/qdict.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "cpu.h"
#include "s390-cmma-internal.h"

#define CMMA_NUM_STATES ((S390_CMMA_USAGE | S390_CMMA_CONTENT) + 1)

static S390CmmaPages *cmma_pages(S390CmmaState *s, const uint64_t *count)
{
    S390CmmaPages *pages = g_new0(S390CmmaPages, 1);

    pages->sr = count[S390_CMMA_STABLE | S390_CMMA_RESIDENT];
    pages->sp = count[S390_CMMA_STABLE | S390_CMMA_PRESERVED];
    pages->sz = count[S390_CMMA_STABLE | S390_CMMA_ZERO];
    pages->ur = count[S390_CMMA_UNUSED | S390_CMMA_RESIDENT];
    pages->uz = count[S390_CMMA_UNUSED | S390_CMMA_ZERO];
    pages->vr = count[S390_CMMA_VOLATILE | S390_CMMA_RESIDENT];
    pages->vz = count[S390_CMMA_VOLATILE | S390_CMMA_ZERO];
    pages->pr = count[S390_CMMA_POT_VOLATILE | S390_CMMA_RESIDENT];

    if (s->policy == S390_CMMA_POLICY_KVM) {
        pages->has_up = pages->has_vp = true;
        pages->has_pp = pages->has_pz = true;
        pages->up = count[S390_CMMA_UNUSED | S390_CMMA_PRESERVED];
        pages->vp = count[S390_CMMA_VOLATILE | S390_CMMA_PRESERVED];
        pages->pp = count[S390_CMMA_POT_VOLATILE | S390_CMMA_PRESERVED];
        pages->pz = count[S390_CMMA_POT_VOLATILE | S390_CMMA_ZERO];
    }
    return pages;
}

static S390CmmaPressure *cmma_pressure_info(S390CmmaState *s)
{
    const CmmaPressure *p = &s->pressure;
    S390CmmaPressure *info;

    if (!p->timer) {
        return NULL;
    }
    info = g_new0(S390CmmaPressure, 1);
    info->has_left = p->room.left != UINT64_MAX;
    info->left = p->room.left;
    info->acting = p->acting;
    info->exhausted = p->exhausted;
    info->episodes = p->stats.episodes;
    info->times_exhausted = p->stats.exhausted;
    info->times_refused = p->stats.refused;
    info->stalls = p->stats.stalls;
    info->taken_unused = p->stats.taken_unused;
    info->taken_volatile = p->stats.taken_volatile;
    info->longest_ns = p->stats.longest_ns;
    return info;
}

S390CmmaInfo *qmp_x_query_s390_cmma(bool has_map, bool map, Error **errp)
{
    S390CmmaState *s = s390_cmma;
    uint64_t count[CMMA_NUM_STATES] = { };
    S390CmmaRunList **tail;
    S390CmmaRun *run = NULL;
    S390CmmaInfo *info;
    uint64_t gfn;
    int op;

    if (!s) {
        error_setg(errp, "Block states are known only with accel=tcg");
        return NULL;
    }

    info = g_new0(S390CmmaInfo, 1);
    info->has_map = has_map && map;
    tail = &info->map;
    for (gfn = 0; gfn < s->ram_blocks; gfn++) {
        uint8_t state = cmma_guest_view(cmma_read(s, gfn));

        count[state & (S390_CMMA_USAGE | S390_CMMA_CONTENT)]++;
        if (info->has_map && (!run || run->state != state)) {
            run = g_new0(S390CmmaRun, 1);
            run->first = gfn;
            run->state = state;
            QAPI_LIST_APPEND(tail, run);
        }
        if (run) {
            run->count++;
        }
    }

    info->pages = cmma_pages(s, count);
    for (op = ESSA_NUM_OPS - 1; op >= 0; op--) {
        QAPI_LIST_PREPEND(info->essa, stat64_get(&s->essa[op]));
    }
    info->discards = stat64_get(&s->discards);
    info->discard_faults = stat64_get(&s->faults);
    info->violations = stat64_get(&s->violations);
    info->device_violations = stat64_get(&s->device_violations);
    info->paged_out = stat64_get(&s->paged_out);
    info->paged_in = stat64_get(&s->paged_in);
    info->stops = s->stops;
    info->pressure = cmma_pressure_info(s);
    return info;
}

void hmp_info_cmma_stats(Monitor *mon, const QDict *qdict)
{
    static const char usages[] = "SUPV", contents[] = "rpz";
    g_autoptr(S390CmmaInfo) info = NULL;
    Error *err = NULL;
    uint64List *essa;
    uint64_t *n;
    int op = 0;

    info = qmp_x_query_s390_cmma(false, false, &err);
    if (hmp_handle_error(mon, err)) {
        return;
    }
    n = (uint64_t[]) {
        info->pages->sr, info->pages->sp, info->pages->sz,
        info->pages->ur, info->pages->up, info->pages->uz,
        info->pages->pr, info->pages->pp, info->pages->pz,
        info->pages->vr, info->pages->vp, info->pages->vz,
    };
    for (int i = 0; i < 12; i++) {
        monitor_printf(mon, "%c%c %" PRIu64 "\n", usages[i / 3],
                       contents[i % 3], n[i]);
    }
    for (essa = info->essa; essa; essa = essa->next) {
        monitor_printf(mon, "essa %d: %" PRIu64 "\n", op++, essa->value);
    }
    monitor_printf(mon, "discards: %" PRIu64 "\n", info->discards);
    monitor_printf(mon, "discard faults: %" PRIu64 "\n",
                   info->discard_faults);
    monitor_printf(mon, "violations: %" PRIu64 "\n", info->violations);
    monitor_printf(mon, "device violations: %" PRIu64 "\n",
                   info->device_violations);
    monitor_printf(mon, "paged out: %" PRIu64 "\n", info->paged_out);
    monitor_printf(mon, "paged in: %" PRIu64 "\n", info->paged_in);
    monitor_printf(mon, "stops: %" PRIu64 "\n", info->stops);
    if (info->pressure) {
        const S390CmmaPressure *p = info->pressure;

        monitor_printf(mon, "pressure: %s\n", p->acting ? "taking" :
                       p->exhausted ? "nothing to take" : "watching");
        if (p->has_left) {
            monitor_printf(mon, "pressure left: %" PRIu64 " MiB\n",
                           p->left / MiB);
        }
        monitor_printf(mon, "pressure episodes: %" PRIu64 "\n", p->episodes);
        monitor_printf(mon, "pressure episodes with too little to take: %"
                       PRIu64 "\n", p->times_exhausted);
        monitor_printf(mon, "pressure stalls: %" PRIu64 "\n", p->stalls);
        monitor_printf(mon, "pressure refused: %" PRIu64 "\n",
                       p->times_refused);
        monitor_printf(mon, "pressure unused taken: %" PRIu64 "\n",
                       p->taken_unused);
        monitor_printf(mon, "pressure volatile taken: %" PRIu64 "\n",
                       p->taken_volatile);
    }
}

void hmp_cmma_discard(Monitor *mon, const QDict *qdict)
{
    g_autoptr(S390CmmaDiscardInfo) info = NULL;
    int64_t count = qdict_get_try_int(qdict, "count", 0);
    Error *err = NULL;
    int what;

    if (count < 0) {
        monitor_printf(mon, "Error: count must not be negative\n");
        return;
    }
    what = qapi_enum_parse(&S390CmmaDiscardWhat_lookup,
                           qdict_get_str(qdict, "what"), -1, &err);
    if (!err) {
        info = qmp_x_s390_cmma_discard(what, qdict_haskey(qdict, "count"),
                                       count, false, 0, &err);
    }
    if (hmp_handle_error(mon, err)) {
        return;
    }
    monitor_printf(mon, "%" PRIu64 " blocks\n", info->discarded);
}
