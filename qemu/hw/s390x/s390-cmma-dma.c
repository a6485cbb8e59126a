/*
 * s390 collaborative memory management: devices that access blocks
 *
 * Devices access guest memory without a translation, so that they do not
 * notice the state of a block: neither do they get an exception, nor does a
 * block become resident. A guest that lets a device access a block that is
 * unused or discarded has a bug, which shows as wrong data much later if at
 * all.
 *
 * To find such bugs, a device can be put behind an IOMMU that the guest does
 * not see. It maps every address to itself and looks at the state of the block
 * on the way. All that a virtio device does comes by here: buffers when they
 * are mapped, and each access to a ring, because caches of memory regions do
 * not cache what an IOMMU translates.
 *
 * The state is looked up when an access begins. A block that the guest gives
 * up while a buffer in it is mapped goes unnoticed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "hw/virtio/virtio-bus.h"
#include "standard-headers/linux/virtio_balloon.h"
#include "standard-headers/linux/virtio_ids.h"
#include "system/runstate.h"
#include "cpu.h"
#include "s390-cmma-dma.h"
#include "s390-cmma-internal.h"
#include "trace.h"

#define TYPE_S390_CMMA_IOMMU "s390-cmma-iommu-memory-region"

static bool cmma_is_violation(uint8_t state)
{
    /* A host like KVM has no discarded blocks, only zeros where data was */
    return (state & S390_CMMA_USAGE) == S390_CMMA_UNUSED ||
           (cmma_is(state, S390_CMMA_VOLATILE, S390_CMMA_ZERO) &&
            s390_cmma_presents_volatility());
}

static void cmma_violation(S390CmmaDma *dma, hwaddr addr, bool is_write,
                           uint8_t state)
{
    const char *device = memory_region_name(MEMORY_REGION(&dma->iommu));
    const bool unused = (state & S390_CMMA_USAGE) == S390_CMMA_UNUSED;

    stat64_add(&s390_cmma->device_violations, 1);
    trace_s390_cmma_device_violation(device, addr, is_write,
                                     cmma_guest_view(state));
    if (dma->check == S390_CMMA_CHECK_FATAL) {
        error_report("%s: %s address 0x%"HWADDR_PRIx" in a block that is %s "
                     "(state 0x%02x)", device,
                     is_write ? "write to" : "read from", addr,
                     unused ? "unused" : "discarded",
                     cmma_guest_view(state));
        /* Not exit(): this may be an I/O thread */
        qemu_system_shutdown_request_with_code(SHUTDOWN_CAUSE_HOST_ERROR,
                                               EXIT_FAILURE);
    }
}

/*
 * Runs in the main loop, in I/O threads and, without ioeventfd, in CPU threads,
 * while CPUs change states by ESSA. A guest that is right has made the block
 * stable before the device learned its address, and takes it back only after
 * the device is done, so that only a guest that is wrong can change the usage
 * between the look at the state and the access. What can change for a block
 * that is in use is Sz or Sp to Sr, by a CPU or by another device: one of them
 * makes the change, the others find the block resident. The way back needs the
 * machine to be stopped, and devices with it.
 */
static void cmma_device_access(S390CmmaDma *dma, hwaddr addr, bool is_write)
{
    S390CmmaState *s = s390_cmma;
    uint64_t gfn = addr / TARGET_PAGE_SIZE;
    uint8_t state;

    if (!s390_cmma_block_exists(addr)) {
        return;
    }

    state = cmma_read(s, gfn);
    if (cmma_is_violation(state)) {
        cmma_violation(dma, addr, is_write, state);
    }

    /* KVM brings in everything, others what the guest has not given up */
    while (cmma_absent(state) &&
           (s->policy == S390_CMMA_POLICY_KVM ||
            (is_write && (state & S390_CMMA_USAGE) == S390_CMMA_STABLE))) {
        if (cmma_change(s, gfn, state, cmma_accessed(state))) {
            trace_s390_cmma_device_resident(
                memory_region_name(MEMORY_REGION(&dma->iommu)), addr,
                cmma_guest_view(state));
        }
        state = qatomic_read(&s->state[gfn]);
    }
}

static IOMMUTLBEntry s390_cmma_translate(IOMMUMemoryRegion *iommu, hwaddr addr,
                                         IOMMUAccessFlags flag, int iommu_idx)
{
    S390CmmaDma *dma = container_of(iommu, S390CmmaDma, iommu);
    IOMMUTLBEntry entry = {
        .target_as = &address_space_memory,
        .iova = addr & TARGET_PAGE_MASK,
        .translated_addr = addr & TARGET_PAGE_MASK,
        .addr_mask = ~TARGET_PAGE_MASK,
        .perm = IOMMU_RW,
    };

    /* Who asks without flags wants to know the mapping and accesses nothing */
    if (flag != IOMMU_NONE) {
        cmma_device_access(dma, addr, flag & IOMMU_WO);
    }
    return entry;
}

/* What traces and error messages call the device */
static char *cmma_device_name(CcwDevice *dev)
{
    const char *type = object_get_typename(OBJECT(dev));
    SubchDev *sch = dev->sch;

    return DEVICE(dev)->id ?
           g_strdup_printf("%s %s", type, DEVICE(dev)->id) :
           g_strdup_printf("%s %x.%x.%04x", type,
                           sch->cssid, sch->ssid, sch->devno);
}

bool s390_cmma_dma_init(S390CmmaDma *dma, CcwDevice *dev, Error **errp)
{
    g_autofree char *name = NULL;

    if (dma->check == S390_CMMA_CHECK_OFF) {
        return true;
    }
    if (!s390_cmma) {
        error_setg(errp, "Accesses of devices can be checked only with "
                   "accel=tcg");
        return false;
    }

    name = cmma_device_name(dev);
    memory_region_init_iommu(&dma->iommu, sizeof(dma->iommu),
                             TYPE_S390_CMMA_IOMMU, OBJECT(dev), name,
                             UINT64_MAX);
    address_space_init(&dma->as, MEMORY_REGION(&dma->iommu), name);
    return true;
}

void s390_cmma_dma_exit(S390CmmaDma *dma)
{
    if (dma->as.root) {
        /*
         * Its flat view would live, and with it the device, until somebody
         * else changes the memory map. RCU readers do have that time.
         */
        memory_region_set_enabled(MEMORY_REGION(&dma->iommu), false);
        address_space_destroy(&dma->as);
    }
}

bool s390_cmma_dma_attach(S390CmmaDma *dma, VirtIODevice *vdev, Error **errp)
{
    VirtioDeviceClass *vdc = VIRTIO_DEVICE_GET_CLASS(vdev);

    if (dma->check == S390_CMMA_CHECK_OFF) {
        return true;
    }
    if (vdc->get_vhost && vdc->get_vhost(vdev)) {
        error_setg(errp, "Accesses of a vhost device cannot be checked, "
                   "because they do not go through QEMU");
        return false;
    }
    if (vdev->device_id == VIRTIO_ID_BALLOON &&
        (virtio_host_has_feature(vdev, VIRTIO_BALLOON_F_REPORTING) ||
         virtio_host_has_feature(vdev, VIRTIO_BALLOON_F_FREE_PAGE_HINT))) {
        error_setg(errp, "Accesses of a balloon with free page reporting or "
                   "hinting cannot be checked");
        error_append_hint(errp, "The guest hands unused blocks to such a "
                          "device on purpose.\n");
        return false;
    }
    vdev->dma_as = &dma->as;
    return true;
}

const QEnumLookup s390_cmma_check_lookup = {
    .array = (const char *const[]) {
        [S390_CMMA_CHECK_OFF] = "off",
        [S390_CMMA_CHECK_COUNT] = "count",
        [S390_CMMA_CHECK_FATAL] = "fatal",
    },
    .size = S390_CMMA_CHECK__MAX,
};

static void s390_cmma_iommu_class_init(ObjectClass *oc, void *data)
{
    IOMMU_MEMORY_REGION_CLASS(oc)->translate = s390_cmma_translate;
}

static const TypeInfo s390_cmma_iommu_info = {
    .name = TYPE_S390_CMMA_IOMMU,
    .parent = TYPE_IOMMU_MEMORY_REGION,
    .class_init = s390_cmma_iommu_class_init,
};

static void s390_cmma_dma_register_types(void)
{
    type_register_static(&s390_cmma_iommu_info);
}

type_init(s390_cmma_dma_register_types)
