/* SPDX-License-Identifier: GPL-2.0 */
/* Counters of page host virtual assist, shown in /proc/vmstat. */
#ifndef _MM_PAGE_HVA_STAT_H
#define _MM_PAGE_HVA_STAT_H

#include <linux/vmstat.h>

/* What was done is counted in pages, what failed in attempts. */
static inline void page_hva_count(enum vm_event_item item)
{
	count_vm_event(item);
}

static inline void page_hva_count_pages(enum vm_event_item item,
					unsigned int nr)
{
	count_vm_events(item, nr);
}

#endif /* _MM_PAGE_HVA_STAT_H */
