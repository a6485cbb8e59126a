/* SPDX-License-Identifier: GPL-2.0 */
/* A load, and what the loads share. */
#ifndef COST_H
#define COST_H

#include "../mark.h"
#include "../swapping.h"

#define MIB		(1ul << 20)
#define MIB_PAGES	(MIB / PAGE)

struct load {
	const char *name, *unit;
	size_t pages;			/* of its file, which is cached; 0: it has none */
	void (*setup)(void);
	unsigned long (*once)(void);	/* returns how many units that were */
};

extern const struct load read_loads[], map_loads[], process_loads[], pipe_loads[],
	write_loads[], memory_loads[];

extern const char *dir;
extern int fd;				/* the load's file */
extern size_t length;			/* of it */
extern char buffer[MIB];

/*
 * A load that has something to prepare each time says END() before it and BEGIN() after it;
 * what is in between is not counted.
 */
#define END_PASS()	MARK(3)

/* The whole of a system call is done, or the load is none. */
#define all_of(call, expected)								\
	do {										\
		ssize_t got_ = must(call), want_ = (expected);				\
		if (got_ != want_)							\
			fail("%s: %zd of %zd", #call, got_, want_);			\
	} while (0)

static inline void read_pages(char *p, size_t bytes)
{
	for (size_t off = 0; off < bytes; off += PAGE)
		*(volatile char *)(p + off);
}

static inline void write_pages(char *p, size_t bytes)
{
	for (size_t off = 0; off < bytes; off += PAGE)
		*(volatile char *)(p + off) = 1;
}

#endif
