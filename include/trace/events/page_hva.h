/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM page_hva

#if !defined(_TRACE_PAGE_HVA_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_PAGE_HVA_H

#include <linux/mm.h>
#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(page_hva_folio,

	TP_PROTO(struct folio *folio),

	TP_ARGS(folio),

	TP_STRUCT__entry(
		__field(unsigned long, pfn)
		__field(unsigned long, index)
		__field(unsigned int, order)
	),

	TP_fast_assign(
		__entry->pfn	= folio_pfn(folio);
		__entry->index	= folio->index;
		__entry->order	= folio_order(folio);
	),

	TP_printk("pfn=0x%lx index=%lu order=%u",
		  __entry->pfn, __entry->index, __entry->order)
);

/* The host may discard the folio from now on. */
DEFINE_EVENT(page_hva_folio, page_hva_make_volatile,
	TP_PROTO(struct folio *folio),
	TP_ARGS(folio)
);

/* A discarded folio is out of the page cache, or is read again in its place. */
DEFINE_EVENT(page_hva_folio, page_hva_drop,
	TP_PROTO(struct folio *folio),
	TP_ARGS(folio)
);

/* Somebody wants the content of a folio that may be gone. */
TRACE_EVENT(page_hva_make_stable,

	TP_PROTO(struct folio *folio, bool stable),

	TP_ARGS(folio, stable),

	TP_STRUCT__entry(
		__field(unsigned long, pfn)
		__field(unsigned long, index)
		__field(bool, stable)
	),

	TP_fast_assign(
		__entry->pfn	= folio_pfn(folio);
		__entry->index	= folio->index;
		__entry->stable	= stable;
	),

	TP_printk("pfn=0x%lx index=%lu result=%s",
		  __entry->pfn, __entry->index,
		  __entry->stable ? "stable" : "gone")
);

/* The instruction at @ip accessed a discarded page. */
TRACE_EVENT(page_hva_discard_fault,

	TP_PROTO(unsigned long pfn, unsigned long ip, bool user),

	TP_ARGS(pfn, ip, user),

	TP_STRUCT__entry(
		__field(unsigned long, pfn)
		__field(unsigned long, ip)
		__field(bool, user)
	),

	TP_fast_assign(
		__entry->pfn	= pfn;
		__entry->ip	= ip;
		__entry->user	= user;
	),

	TP_printk("pfn=0x%lx ip=0x%lx mode=%s",
		  __entry->pfn, __entry->ip,
		  __entry->user ? "user" : "kernel")
);

#endif /* _TRACE_PAGE_HVA_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
