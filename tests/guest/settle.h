/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SETTLE_H
#define SETTLE_H

#include <err.h>
#include <fcntl.h>
#include <unistd.h>

/* What was used turns volatile now, and not when it has been left alone for seconds. */
static inline void settle(void)
{
	int fd = open("/sys/kernel/debug/page_hva/settle", O_WRONLY);

	if (fd < 0 || write(fd, "1", 1) != 1)
		err(2, "/sys/kernel/debug/page_hva/settle");
	close(fd);
}

#endif
