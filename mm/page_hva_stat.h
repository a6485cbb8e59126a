/* SPDX-License-Identifier: GPL-2.0 */
/* Counters of page host virtual assist, shown in debugfs. */
#ifndef _MM_PAGE_HVA_STAT_H
#define _MM_PAGE_HVA_STAT_H

#include <linux/percpu.h>

/* Their names are in mm/page_hva_debug.c, in the same order. */
enum page_hva_stat_item {
	PAGE_HVA_MADE_VOLATILE,
	PAGE_HVA_MADE_STABLE,
	PAGE_HVA_GONE,
	PAGE_HVA_COUNT_BUSY,
	PAGE_HVA_FREED,
	PAGE_HVA_DISCARDS,
	PAGE_HVA_FAULTS_USER,
	PAGE_HVA_FAULTS_KERNEL,
	PAGE_HVA_NR_STATS
};

DECLARE_PER_CPU(unsigned long [PAGE_HVA_NR_STATS], page_hva_stat);

static inline void page_hva_count(enum page_hva_stat_item item)
{
	this_cpu_inc(page_hva_stat[item]);
}

#endif /* _MM_PAGE_HVA_STAT_H */
