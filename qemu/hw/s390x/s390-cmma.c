/*
 * s390 collaborative memory management: the device
 *
 * The guest tells by ESSA how it uses each 4 KiB block, the host takes away
 * blocks that are unused or volatile, and pages out others. This is the
 * storage attributes device for TCG: what ESSA and the accesses of CPUs make of
 * the state of a block, what a reset does, and properties.
 *
 * The device is made of layers. A file uses those below it and none above:
 *
 *   s390-cmma-monitor.c
 *   s390-cmma.c            ESSA, accesses, reset, properties
 *   s390-cmma-pressure.c   discarding when memory is short
 *   s390-cmma-room.c       how much the host has left
 *   s390-cmma-discard.c, s390-cmma-stattrib.c
 *   s390-cmma-kvm.c        what Linux KVM does instead
 *   s390-cmma-state.c      the state byte of a block
 *   s390-cmma-page.c       the frame of a block, and the page file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "exec/memory.h"
#include "hw/boards.h"
#include "hw/qdev-properties.h"
#include "hw/s390x/s390-virtio-ccw.h"
#include "migration/blocker.h"
#include "migration/migration.h"
#include "system/tcg.h"
#include "cpu.h"
#include "s390-cmma-internal.h"
#include "trace.h"

bool s390_cmma_presents_volatility(void)
{
    return s390_cmma && s390_cmma->policy != S390_CMMA_POLICY_KVM;
}

bool s390_cmma_guest_discards(void)
{
    return s390_cmma && s390_cmma->guest_discard;
}

bool s390_cmma_block_exists(hwaddr addr)
{
    return s390_cmma && addr / TARGET_PAGE_SIZE < s390_cmma->blocks;
}

int s390_cmma_access(hwaddr addr, uint64_t *tec)
{
    S390CmmaState *s = s390_cmma;
    uint64_t gfn = addr / TARGET_PAGE_SIZE;
    uint8_t state;

    if (!s390_cmma_block_exists(addr)) {
        return 0;
    }

    do {
        state = qatomic_read(&s->state[gfn]);
        if (likely(!cmma_traps(s, state))) {
            cmma_note_use(s, gfn);
            return 0;
        }
        switch (state & S390_CMMA_USAGE) {
        case S390_CMMA_VOLATILE:
            if (s390_cmma_presents_volatility()) {
                *tec = gfn * TARGET_PAGE_SIZE;
                return PGM_BLOCK_VOLATILITY;
            }
            break;
        case S390_CMMA_UNUSED:
            stat64_add(&s->violations, 1);
            trace_s390_cmma_violation(gfn * TARGET_PAGE_SIZE, state);
            if (s->strict_unused != S390_CMMA_STRICT_UNUSED_OFF) {
                *tec = 0; /* unused */
                return PGM_ADDRESSING;
            }
            break;
        }
    } while (!cmma_change(s, gfn, state, cmma_accessed(state)));

    return 0;
}

void s390_cmma_fault(hwaddr addr)
{
    stat64_add(&s390_cmma->faults, 1);
    trace_s390_cmma_fault(addr);
}

static uint8_t cmma_next_state(S390CmmaState *s, uint64_t gfn, uint8_t state,
                               unsigned int op)
{
    const bool resident = !cmma_absent(state);

    switch (op) {
    case ESSA_SET_STABLE:
        return cmma_with_usage(state, S390_CMMA_STABLE) & ~S390_CMMA_NODAT;
    case ESSA_SET_UNUSED:
        state = cmma_with_usage(state, S390_CMMA_UNUSED);
        return resident ? state : state | S390_CMMA_ZERO;
    case ESSA_SET_POT_VOLATILE:
        if (resident) {
            return cmma_with_usage(state, S390_CMMA_POT_VOLATILE);
        }
        if (cmma_preserved(state) && cmma_changed(s, gfn)) {
            return state;
        }
        /* fall through */
    case ESSA_SET_VOLATILE:
        state = cmma_with_usage(state, S390_CMMA_VOLATILE);
        return resident ? state : state | S390_CMMA_ZERO;
    case ESSA_SET_STABLE_RESIDENT:
        return cmma_with_usage(state, S390_CMMA_STABLE) & ~S390_CMMA_CONTENT;
    case ESSA_SET_STABLE_IF_RESIDENT:
        return resident ? cmma_with_usage(state, S390_CMMA_STABLE) : state;
    case ESSA_SET_STABLE_NODAT:
        return cmma_with_usage(state, S390_CMMA_STABLE) | S390_CMMA_NODAT;
    default:
        return state;
    }
}

uint8_t s390_cmma_essa(CPUState *cs, hwaddr addr, unsigned int op)
{
    S390CmmaState *s = s390_cmma;
    uint64_t gfn = addr / TARGET_PAGE_SIZE;
    uint8_t old, new;

    do {
        old = cmma_read(s, gfn);
        if (s->policy == S390_CMMA_POLICY_KVM) {
            new = cmma_kvm_next_state(s, gfn, old, op);
        } else {
            new = cmma_next_state(s, gfn, old, op);
        }
    } while (new != old && !cmma_change(s, gfn, old, new));

    if (op < ESSA_NUM_OPS) {
        stat64_add(&s->essa[op], 1);
    }
    trace_s390_cmma_essa(cs->cpu_index, addr, op, old, new);

    if (gfn < s->ram_blocks) {
        bool may_go = op == ESSA_SET_VOLATILE || op == ESSA_SET_POT_VOLATILE;

        if (op == ESSA_SET_UNUSED || cmma_absent(old)) {
            cmma_note_new(s, gfn);
        } else if (may_go) {
            cmma_note_use(s, gfn);
        }
        if (cmma_traps(s, new) && !cmma_traps(s, old)) {
            async_safe_run_on_cpu(cs, cmma_work_flush,
                                  RUN_ON_CPU_HOST_ULONG(gfn));
        } else if (op == ESSA_DISCARD ||
                   (may_go && !cmma_absent(new) && cmma_policy_discards(s))) {
            async_safe_run_on_cpu(cs, cmma_work_discard,
                                  RUN_ON_CPU_HOST_ULONG(gfn));
        }
    }
    return cmma_guest_view(old);
}

/* Device: */

void s390_cmma_device_reset(S390CmmaReset type)
{
    S390CmmaState *s = s390_cmma;
    uint64_t gfn;

    if (!s) {
        return;
    }
    /* KVM knows only one kind of reset */
    if (s->policy == S390_CMMA_POLICY_KVM && type == S390_CMMA_RESET_NORMAL) {
        type = S390_CMMA_RESET_CLEAR;
    }
    for (gfn = 0; gfn < s->blocks; gfn++) {
        uint8_t old, new;

        do {
            old = cmma_read(s, gfn);
            new = old & ~S390_CMMA_NODAT;
            if (type != S390_CMMA_RESET_NORMAL) {
                new = cmma_with_usage(new, S390_CMMA_STABLE);
            }
            if (type == S390_CMMA_RESET_LOAD) {
                new = cmma_accessed(new);
            }
        } while (new != old && !cmma_change(s, gfn, old, new));
    }
}

static bool s390_cmma_check_marks(uint64_t low, uint64_t high, Error **errp)
{
    if (low > high) {
        error_setg(errp, "Property 'pressure-low' must not be above "
                   "'pressure-high': blocks are taken when less than the "
                   "former is left, until the latter is");
        return false;
    }
    return true;
}

static bool s390_cmma_check_properties(S390CmmaState *s, Error **errp)
{
    if (s->percent > 100) {
        error_setg(errp, "Property 'percent' must be between 0 and 100");
        return false;
    }
    if (s->policy == S390_CMMA_POLICY_KVM &&
        (s->poison || s->guest_discard ||
         s->strict_unused != S390_CMMA_STRICT_UNUSED_OFF)) {
        error_setg(errp, "Policy 'kvm' has no 'poison', 'guest-discard' or "
                   "'strict-unused': KVM never makes an access fail");
        return false;
    }
    if (s->page_file && !cmma_can_page_out(s, errp)) {
        return false;
    }
    if (s->policy == S390_CMMA_POLICY_NONE && s->guest_discard &&
        !cmma_can_discard(s, errp)) {
        return false;
    }
    return s390_cmma_check_marks(s->pressure.low, s->pressure.high, errp);
}

/* From now on, no device that pins guest memory can be added, or it can */
static bool s390_cmma_require_discard(S390CmmaState *s, Error **errp)
{
    bool discards = s->guest_discard || s->policy == S390_CMMA_POLICY_ALWAYS ||
                    s->policy == S390_CMMA_POLICY_RANDOM ||
                    s->policy == S390_CMMA_POLICY_PRESSURE;
    bool requires = (discards && !s->poison) || s->page_file;

    if (requires != s->requires_discard &&
        ram_block_discard_require(requires)) {
        error_setg(errp, "Discarding of guest memory is disabled");
        return false;
    }
    s->requires_discard = requires;
    return true;
}

/* Make the policy the one that works, before the machine runs or later */
static bool s390_cmma_apply_policy(S390CmmaState *s, Error **errp)
{
    if ((s->policy != S390_CMMA_POLICY_NONE && !cmma_can_discard(s, errp)) ||
        !s390_cmma_require_discard(s, errp)) {
        return false;
    }
    if (s->policy != S390_CMMA_POLICY_PRESSURE) {
        cmma_pressure_stop(s);
        return true;
    }
    return cmma_pressure_start(s, errp);
}

static void s390_cmma_realize(DeviceState *dev, Error **errp)
{
    MachineState *ms = MACHINE(qdev_get_machine());
    S390CmmaState *s = S390_CMMA(dev);
    Error *err = NULL;

    s->ram = ms->ram;
    /* Looked up here: later, CPUs need it without the BQL */
    s->skeys = s390_get_skeys_device();
    s->ram_blocks = memory_region_size(s->ram) / TARGET_PAGE_SIZE;
    s->blocks = s390_get_memory_limit(S390_CCW_MACHINE(ms)) / TARGET_PAGE_SIZE;

    s->state = g_malloc0(s->blocks);
    qemu_mutex_init(&s->content_lock);
    if (!s390_cmma_check_properties(s, errp) ||
        !s390_cmma_apply_policy(s, errp)) {
        return;
    }
    if (s->poison) {
        error_setg(&s->mig_blocker,
                   "s390-cmma.poison=on leaves garbage in guest memory");
        if (migrate_add_blocker(&s->mig_blocker, errp) < 0) {
            return;
        }
    }
    if (s->page_file && !cmma_page_file_open(s, errp)) {
        return;
    }
    S390_CMMA_GET_CLASS(s)->parent_realize(dev, &err);
    if (err) {
        error_propagate(errp, err);
        return;
    }

    if (tcg_enabled()) {
        /*
         * When QEMU ends, CPUs run for a moment after migration was shut down,
         * and their work asks whether the guest migrates.
         */
        object_ref(OBJECT(migrate_get_current()));
        s390_cmma = s;
    }
}

static int s390_cmma_get_policy(Object *obj, Error **errp)
{
    return S390_CMMA(obj)->policy;
}

static void s390_cmma_set_policy(Object *obj, int value, Error **errp)
{
    S390CmmaState *s = S390_CMMA(obj);
    S390CmmaPolicy old = s->policy;
    Error *err = NULL;

    if (value != old && (value == S390_CMMA_POLICY_KVM ||
                         old == S390_CMMA_POLICY_KVM) &&
        qdev_is_realized(DEVICE(obj))) {
        error_setg(errp, "Policy 'kvm' can only be chosen at start: the guest "
                   "was told what kind of host this is");
        return;
    }
    qatomic_set(&s->policy, value);
    if (qdev_is_realized(DEVICE(obj)) && !s390_cmma_apply_policy(s, &err)) {
        error_propagate(errp, err);
        qatomic_set(&s->policy, old);
        /* It worked before, and only a device that came since can forbid it */
        s390_cmma_require_discard(s, NULL);
    }
}

static int s390_cmma_get_strict(Object *obj, Error **errp)
{
    return S390_CMMA(obj)->strict_unused;
}

static void s390_cmma_set_strict(Object *obj, int value, Error **errp)
{
    S390_CMMA(obj)->strict_unused = value;
}

/* What can be changed while policy "pressure" works */
static void s390_cmma_get_low(Object *obj, Visitor *v, const char *name,
                              void *opaque, Error **errp)
{
    visit_type_size(v, name, &S390_CMMA(obj)->pressure.low, errp);
}

static void s390_cmma_get_high(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    visit_type_size(v, name, &S390_CMMA(obj)->pressure.high, errp);
}

/* Before the device is realized, the other one may come later */
static void s390_cmma_set_low(Object *obj, Visitor *v, const char *name,
                              void *opaque, Error **errp)
{
    CmmaPressure *p = &S390_CMMA(obj)->pressure;
    uint64_t value;

    if (visit_type_size(v, name, &value, errp) &&
        (!qdev_is_realized(DEVICE(obj)) ||
         s390_cmma_check_marks(value, p->high, errp))) {
        p->low = value;
    }
}

static void s390_cmma_set_high(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    CmmaPressure *p = &S390_CMMA(obj)->pressure;
    uint64_t value;

    if (visit_type_size(v, name, &value, errp) &&
        (!qdev_is_realized(DEVICE(obj)) ||
         s390_cmma_check_marks(p->low, value, errp))) {
        p->high = value;
    }
}

static const Property s390_cmma_props[] = {
    DEFINE_PROP_UINT64("seed", S390CmmaState, seed, 0),
    DEFINE_PROP_UINT8("percent", S390CmmaState, percent, 50),
    DEFINE_PROP_BOOL("poison", S390CmmaState, poison, false),
    DEFINE_PROP_BOOL("guest-discard", S390CmmaState, guest_discard, false),
    DEFINE_PROP_STRING("page-file", S390CmmaState, page_file),
    DEFINE_PROP_STRING("pressure-cgroup", S390CmmaState, pressure.cgroup),
    DEFINE_PROP_UINT32("pressure-stall", S390CmmaState, pressure.stall_us, 0),
};

static void s390_cmma_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);

    cmma_stattrib_class_init(S390_STATTRIB_CLASS(oc));
    device_class_set_parent_realize(dc, s390_cmma_realize,
                                    &S390_CMMA_CLASS(oc)->parent_realize);
    device_class_set_props(dc, s390_cmma_props);
    dc->vmsd = &vmstate_s390_cmma;
    object_class_property_add_enum(oc, "policy", "S390CmmaPolicy",
                                   &S390CmmaPolicy_lookup,
                                   s390_cmma_get_policy, s390_cmma_set_policy);
    object_class_property_add_enum(oc, "strict-unused", "S390CmmaStrictUnused",
                                   &S390CmmaStrictUnused_lookup,
                                   s390_cmma_get_strict, s390_cmma_set_strict);
    object_class_property_add(oc, "pressure-low", "size", s390_cmma_get_low,
                              s390_cmma_set_low, NULL, NULL);
    object_class_property_set_description(oc, "pressure-low",
        "Policy pressure takes blocks when less memory is left");
    object_class_property_add(oc, "pressure-high", "size", s390_cmma_get_high,
                              s390_cmma_set_high, NULL, NULL);
    object_class_property_set_description(oc, "pressure-high",
        "Policy pressure takes blocks until so much memory is left");
    /* Reason: Can only be instantiated one time (internally) */
    dc->user_creatable = false;
}

static void s390_cmma_init(Object *obj)
{
    CmmaPressure *p = &S390_CMMA(obj)->pressure;

    p->low = 32 * MiB;
    p->high = 64 * MiB;
    p->stall_fd = -1;
}

static const TypeInfo s390_cmma_info = {
    .name          = TYPE_S390_CMMA,
    .parent        = TYPE_S390_STATTRIB,
    .instance_size = sizeof(S390CmmaState),
    .instance_init = s390_cmma_init,
    .class_init    = s390_cmma_class_init,
    .class_size    = sizeof(S390CmmaClass),
};

static void s390_cmma_register_types(void)
{
    type_register_static(&s390_cmma_info);
}

type_init(s390_cmma_register_types)
