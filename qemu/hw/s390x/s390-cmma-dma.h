/*
 * s390 collaborative memory management: the address space of a device whose
 * accesses are checked against the states of the blocks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_S390_CMMA_DMA_H
#define HW_S390_CMMA_DMA_H

#include "exec/address-spaces.h"
#include "exec/memory.h"
#include "hw/virtio/virtio.h"
#include "ccw-device.h"

typedef enum S390CmmaCheck {
    S390_CMMA_CHECK_OFF,
    S390_CMMA_CHECK_COUNT,
    S390_CMMA_CHECK_FATAL,
    S390_CMMA_CHECK__MAX,
} S390CmmaCheck;

/* Part of the device. All zeros mean that nothing is checked. */
typedef struct S390CmmaDma {
    S390CmmaCheck check;
    IOMMUMemoryRegion iommu;
    AddressSpace as;
} S390CmmaDma;

/* The names of the values, for a property of the device */
extern const QEnumLookup s390_cmma_check_lookup;

/**
 * s390_cmma_dma_init:
 * @dma: has its property set
 * @dev: the device that @dma is part of; it has its subchannel
 *
 * Returns: whether the accesses of @dev can be checked as its property asks
 */
bool s390_cmma_dma_init(S390CmmaDma *dma, CcwDevice *dev, Error **errp);

/**
 * s390_cmma_dma_attach:
 * @vdev: the virtio device behind the device that @dma is part of
 *
 * Let @vdev access memory through @dma.
 *
 * Returns: whether @vdev does all its accesses in a way that can be checked
 */
bool s390_cmma_dma_attach(S390CmmaDma *dma, VirtIODevice *vdev, Error **errp);

/* Undo s390_cmma_dma_init(), also if it failed or was not called */
void s390_cmma_dma_exit(S390CmmaDma *dma);

/* What the device has to use to access guest memory on its own account */
static inline AddressSpace *s390_cmma_dma_as(S390CmmaDma *dma)
{
    return dma->check ? &dma->as : &address_space_memory;
}

#endif
