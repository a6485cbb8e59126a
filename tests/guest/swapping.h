/* SPDX-License-Identifier: GPL-2.0 */
/* What the programs that test swapping share: failing, and a swap area. */
#ifndef SWAPPING_H
#define SWAPPING_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <unistd.h>

#define PAGE	4096ul
#define WORDS	(PAGE / sizeof(uint64_t))
#ifndef MADV_COLD
#define MADV_COLD	20
#define MADV_PAGEOUT	21
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

static inline void fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("FAIL %s: ", program_invocation_short_name);
	vprintf(fmt, ap);
	printf("\n");
	fflush(stdout);
	exit(1);
}

#define must(call) ({ typeof(call) r_ = (call);						\
	if (r_ == (typeof(call))-1)							\
		fail("%s: %s", #call, strerror(errno));					\
	r_; })

/* What mkswap writes. */
static inline void make_swap_area(const char *device)
{
	static char page[PAGE];
	int fd = must(open(device, O_RDWR));
	uint32_t *header = (uint32_t *)(page + 1024);
	off_t size = must(lseek(fd, 0, SEEK_END));

	header[0] = 1;				/* version */
	header[1] = size / PAGE - 1;		/* last page */
	memcpy(page + PAGE - 10, "SWAPSPACE2", 10);
	must(pwrite(fd, page, PAGE, 0));
	must(fsync(fd));
	close(fd);
	must(swapon(device, 0));
}

#endif
