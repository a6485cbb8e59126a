/* SPDX-License-Identifier: GPL-2.0 */
/* Counters of page host virtual assist, shown in debugfs. */
#ifndef _MM_PAGE_HVA_STAT_H
#define _MM_PAGE_HVA_STAT_H

#include <linux/percpu.h>

#define PAGE_HVA_STATS(stat)						\
	stat(MADE_VOLATILE,	made_volatile)				\
	stat(MADE_STABLE,	made_stable)				\
	stat(GONE,		make_stable_gone)			\
	stat(COUNT_BUSY,	count_busy)				\
	stat(FREED,		freed_volatile)				\
	stat(DISCARDS,		discards)				\
	stat(FAULTS_USER,	faults_user)				\
	stat(FAULTS_KERNEL,	faults_kernel)

#define PAGE_HVA_STAT_ENUM(upper, lower)	PAGE_HVA_##upper,
enum page_hva_stat_item {
	PAGE_HVA_STATS(PAGE_HVA_STAT_ENUM)
	PAGE_HVA_NR_STATS
};

DECLARE_PER_CPU(unsigned long [PAGE_HVA_NR_STATS], page_hva_stat);

static inline void page_hva_count(enum page_hva_stat_item item)
{
	this_cpu_inc(page_hva_stat[item]);
}

#endif /* _MM_PAGE_HVA_STAT_H */
