/*
 * s390 collaborative memory management: block states and their host side
 *
 * The guest tells by ESSA how it uses each 4 KiB block, the host takes away
 * blocks that are unused or volatile. This is the storage attributes device
 * for TCG: one byte per block holds usage and content, in the encoding that
 * ESSA returns.
 *
 * A block whose content is not resident is in no TLB: s390_cmma_access() sees
 * every translation before it enters one. A block that is resident becomes
 * inaccessible only while no CPU is in cpu_exec(), so that no CPU can be
 * between s390_cmma_access() and the access itself. All other changes are a
 * single compare-and-swap of the state byte.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "exec/ram_addr.h"
#include "hw/boards.h"
#include "hw/qdev-properties.h"
#include "hw/s390x/s390-virtio-ccw.h"
#include "system/tcg.h"
#include "cpu.h"
#include "s390-cmma-internal.h"
#include "trace.h"

S390CmmaState *s390_cmma;

static uint8_t cmma_with_usage(uint8_t state, uint8_t usage)
{
    return (state & ~S390_CMMA_USAGE) | usage;
}

bool cmma_cmpxchg(S390CmmaState *s, uint64_t gfn, uint8_t old, uint8_t new)
{
    if (qatomic_read(&s->migrating)) {
        new |= CMMA_MIG_DIRTY;
    }
    if (qatomic_cmpxchg(&s->state[gfn], old, new) != old) {
        return false;
    }
    if (~old & new & CMMA_MIG_DIRTY) {
        qatomic_inc(&s->mig_dirty);
    }
    return true;
}

/*
 * Devices write to guest memory without a translation. A stable block that
 * was zero and that the dirty log finds written is resident.
 */
uint8_t cmma_read(S390CmmaState *s, uint64_t gfn)
{
    uint8_t state = qatomic_read(&s->state[gfn]);

    while (cmma_is(state, S390_CMMA_STABLE, S390_CMMA_ZERO) &&
           gfn < s->ram_blocks &&
           cpu_physical_memory_get_dirty_flag(memory_region_get_ram_addr(s->ram)
                                              + gfn * TARGET_PAGE_SIZE,
                                              DIRTY_MEMORY_VGA)) {
        cmma_cmpxchg(s, gfn, state, state & ~S390_CMMA_CONTENT);
        state = qatomic_read(&s->state[gfn]);
    }
    return state;
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
            return 0;
        }
        switch (state & S390_CMMA_USAGE) {
        case S390_CMMA_VOLATILE:
            *tec = gfn * TARGET_PAGE_SIZE;
            return PGM_BLOCK_VOLATILITY;
        case S390_CMMA_UNUSED:
            stat64_add(&s->violations, 1);
            trace_s390_cmma_violation(gfn * TARGET_PAGE_SIZE, state);
            if (s->strict_unused != S390_CMMA_STRICT_UNUSED_OFF) {
                *tec = 0; /* unused */
                return PGM_ADDRESSING;
            }
            break;
        }
    } while (!cmma_cmpxchg(s, gfn, state, state & ~S390_CMMA_CONTENT));

    return 0;
}

void s390_cmma_count_fault(void)
{
    stat64_add(&s390_cmma->faults, 1);
}

static uint8_t cmma_next_state(uint8_t state, unsigned int op)
{
    bool resident = (state & S390_CMMA_CONTENT) == S390_CMMA_RESIDENT;

    switch (op) {
    case ESSA_SET_STABLE:
        return cmma_with_usage(state, S390_CMMA_STABLE) & ~S390_CMMA_NODAT;
    case ESSA_SET_UNUSED:
        return cmma_with_usage(state, S390_CMMA_UNUSED);
    case ESSA_SET_VOLATILE:
        return cmma_with_usage(state, S390_CMMA_VOLATILE);
    case ESSA_SET_POT_VOLATILE:
        return cmma_with_usage(state, resident ? S390_CMMA_POT_VOLATILE
                                               : S390_CMMA_VOLATILE);
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
        new = cmma_next_state(old, op);
    } while (new != old && !cmma_cmpxchg(s, gfn, old, new));

    stat64_add(&s->essa[op], 1);
    trace_s390_cmma_essa(cs->cpu_index, addr, op, old, new);

    if (gfn < s->ram_blocks) {
        if (cmma_traps(s, new) && !cmma_traps(s, old)) {
            async_safe_run_on_cpu(cs, cmma_work_flush,
                                  RUN_ON_CPU_HOST_ULONG(gfn));
        } else if (op == ESSA_SET_VOLATILE && !cmma_traps(s, new) &&
                   cmma_policy_discards(s)) {
            async_safe_run_on_cpu(cs, cmma_work_discard,
                                  RUN_ON_CPU_HOST_ULONG(gfn));
        }
    }
    return old & CMMA_GUEST_BITS;
}

/* Device: */

void s390_cmma_device_reset(bool clear)
{
    S390CmmaState *s = s390_cmma;
    uint64_t gfn;

    if (!s) {
        return;
    }
    for (gfn = 0; gfn < s->blocks; gfn++) {
        uint8_t old, new;

        do {
            old = cmma_read(s, gfn);
            new = old & ~S390_CMMA_NODAT;
            if (clear) {
                new = cmma_with_usage(new, S390_CMMA_STABLE);
            }
        } while (new != old && !cmma_cmpxchg(s, gfn, old, new));
    }
}

static void s390_cmma_realize(DeviceState *dev, Error **errp)
{
    MachineState *ms = MACHINE(qdev_get_machine());
    S390CmmaState *s = S390_CMMA(dev);
    Error *err = NULL;

    s->ram = ms->ram;
    s->ram_blocks = memory_region_size(s->ram) / TARGET_PAGE_SIZE;
    s->blocks = s390_get_memory_limit(S390_CCW_MACHINE(ms)) / TARGET_PAGE_SIZE;

    if (s->percent > 100) {
        error_setg(errp, "Property 'percent' must be between 0 and 100");
        return;
    }
    if (s->policy != S390_CMMA_POLICY_NONE && !cmma_can_discard(s, errp)) {
        return;
    }
    S390_CMMA_GET_CLASS(s)->parent_realize(dev, &err);
    if (err) {
        error_propagate(errp, err);
        return;
    }

    s->state = g_malloc0(s->blocks);
    qemu_mutex_init(&s->discard_lock);
    if (tcg_enabled()) {
        /* An old KVM without states to migrate must not pay for the log */
        memory_region_set_log(s->ram, true, DIRTY_MEMORY_VGA);
        s390_cmma = s;
    }
}

static int s390_cmma_get_policy(Object *obj, Error **errp)
{
    return S390_CMMA(obj)->policy;
}

static void s390_cmma_set_policy(Object *obj, int value, Error **errp)
{
    S390_CMMA(obj)->policy = value;
}

static int s390_cmma_get_strict(Object *obj, Error **errp)
{
    return S390_CMMA(obj)->strict_unused;
}

static void s390_cmma_set_strict(Object *obj, int value, Error **errp)
{
    S390_CMMA(obj)->strict_unused = value;
}

static const Property s390_cmma_props[] = {
    DEFINE_PROP_UINT64("seed", S390CmmaState, seed, 0),
    DEFINE_PROP_UINT8("percent", S390CmmaState, percent, 50),
};

static void s390_cmma_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);

    cmma_stattrib_class_init(S390_STATTRIB_CLASS(oc));
    device_class_set_parent_realize(dc, s390_cmma_realize,
                                    &S390_CMMA_CLASS(oc)->parent_realize);
    device_class_set_props(dc, s390_cmma_props);
    object_class_property_add_enum(oc, "policy", "S390CmmaPolicy",
                                   &S390CmmaPolicy_lookup,
                                   s390_cmma_get_policy, s390_cmma_set_policy);
    object_class_property_add_enum(oc, "strict-unused", "S390CmmaStrictUnused",
                                   &S390CmmaStrictUnused_lookup,
                                   s390_cmma_get_strict, s390_cmma_set_strict);
    /* Reason: Can only be instantiated one time (internally) */
    dc->user_creatable = false;
}

static const TypeInfo s390_cmma_info = {
    .name          = TYPE_S390_CMMA,
    .parent        = TYPE_S390_STATTRIB,
    .instance_size = sizeof(S390CmmaState),
    .class_init    = s390_cmma_class_init,
    .class_size    = sizeof(S390CmmaClass),
};

static void s390_cmma_register_types(void)
{
    type_register_static(&s390_cmma_info);
}

type_init(s390_cmma_register_types)
