// SPDX-License-Identifier: GPL-2.0
/* Page faults, and memory that is locked. */
#include "cost.h"

static char *mapped;

static char *map(int prot, int flags)
{
	return must(mmap(NULL, length, prot, flags, fd, 0));
}

/* Most pages are mapped around a fault of another one. */
static unsigned long fault(void)
{
	char *p = map(PROT_READ, MAP_SHARED);

	read_pages(p, length);
	must(munmap(p, length));
	return length / PAGE;
}

static unsigned long private_write(void)
{
	char *p = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);

	write_pages(p, length);
	must(munmap(p, length));
	return length / PAGE;
}

static unsigned long private_write_after_read(void)
{
	char *p = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);

	read_pages(p, length);
	write_pages(p, length);
	must(munmap(p, length));
	return length / PAGE;
}

static unsigned long anonymous(void)
{
	char *p = must(mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	write_pages(p, MIB);
	must(munmap(p, MIB));
	return MIB_PAGES;
}

static void setup_mapped(void)
{
	mapped = map(PROT_READ, MAP_SHARED);
	read_pages(mapped, length);
}

static unsigned long lock_and_unlock(void)
{
	must(mlock(mapped, length));
	must(munlock(mapped, length));
	return length / PAGE;
}

const struct load map_loads[] = {
	{ "fault", "page", MIB_PAGES, NULL, fault },
	{ "private-write", "page", MIB_PAGES, NULL, private_write },
	{ "read-then-write", "page", MIB_PAGES, NULL, private_write_after_read },
	{ "anonymous", "page", 0, NULL, anonymous },
	{ "mlock", "page", MIB_PAGES, setup_mapped, lock_and_unlock },
	{ }
};
