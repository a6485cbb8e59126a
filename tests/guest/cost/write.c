// SPDX-License-Identifier: GPL-2.0
/* Writes, and what becomes of the pages. */
#include "cost.h"

static unsigned long overwrite(void)
{
	static size_t page;

	page = (page + 1) % (length / PAGE);
	all_of(pwrite(fd, buffer, PAGE, page * PAGE), PAGE);
	return 1;
}

static void setup_tmpfs(void)
{
	fd = must(open("/tmp/cost-tmpfs", O_RDWR | O_CREAT | O_TRUNC, 0600));
	must(unlink("/tmp/cost-tmpfs"));
}

/* And freed again. */
static unsigned long write_tmpfs(void)
{
	all_of(pwrite(fd, buffer, MIB, 0), MIB);
	must(ftruncate(fd, 0));
	return MIB_PAGES;
}

/* What is read of a file without blocks is cached as well. */
static unsigned long truncate_file(void)
{
	END();
	must(ftruncate(fd, MIB));
	for (int i = 0; i < 2; i++)
		all_of(pread(fd, buffer, MIB, 0), MIB);
	BEGIN();
	must(ftruncate(fd, 0));
	return MIB_PAGES;
}

static unsigned long write_back(void)
{
	all_of(pwrite(fd, buffer, MIB, 0), MIB);
	must(fdatasync(fd));
	return MIB_PAGES;
}

const struct load write_loads[] = {
	{ "overwrite", "write", 16, NULL, overwrite },
	{ "tmpfs", "page", 0, setup_tmpfs, write_tmpfs },
	{ "truncate", "page", 1, NULL, truncate_file },
	{ "writeback", "page", MIB_PAGES, NULL, write_back },
	{ }
};
