// SPDX-License-Identifier: GPL-2.0
/* A block device on a file: the kernel reads the file into memory of its own, where no user access can fault. */
#include "stress.h"
#include <linux/loop.h>
#include <sys/ioctl.h>

static int loop_read(void)
{
	struct area a = area_read(BLK, KIB64);
	struct loop_config config = {
		.fd = a.fd,
		.info = { .lo_offset = a.off, .lo_sizelimit = a.len, .lo_flags = LO_FLAGS_READ_ONLY },
	};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), number, fd;
	char name[24], *p = anon(a.len);

	if (control < 0)
		return errno;
	keep_fd(control, "/dev/loop-control");
	number = must(ioctl(control, LOOP_CTL_GET_FREE));
	snprintf(name, sizeof(name), "/dev/loop%d", number);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	keep_fd(fd, name);
	/* Another process may have taken it in the meantime. */
	if (ioctl(fd, LOOP_CONFIGURE, &config)) {
		if (errno == EBUSY)
			return NOT_NOW;
		fail("LOOP_CONFIGURE: %m");
	}
	for (int i = 0; i < 2; i++) {
		read_at(fd, p, a.len, 0);
		check(a.f, a.off, p, a.len);
		recycle(&a);
		must(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	}
	must(ioctl(fd, LOOP_CLR_FD));
	return 0;
}

const struct op loop_ops[] = {
	{ "loop", loop_read, 4, true },
	{ }
};
