// SPDX-License-Identifier: GPL-2.0
/* kcore: read what /proc/kcore has of physical memory, and say how many MiB that is. */
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static char buffer[1 << 20];

int main(void)
{
	unsigned long done = 0;
	Elf64_Ehdr head;
	Elf64_Phdr part;
	int fd = open("/proc/kcore", O_RDONLY);

	if (fd < 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head))
		err(1, "/proc/kcore");
	for (int i = 0; i < head.e_phnum; i++) {
		if (pread(fd, &part, sizeof(part), head.e_phoff + i * sizeof(part)) !=
		    sizeof(part))
			err(1, "program header %d", i);
		/* Areas of virtual addresses are huge, and empty for the most part. */
		if (part.p_type != PT_LOAD || part.p_paddr == (Elf64_Addr)-1)
			continue;
		for (unsigned long at = 0; at < part.p_memsz; at += sizeof(buffer)) {
			unsigned long length = part.p_memsz - at;

			if (length > sizeof(buffer))
				length = sizeof(buffer);
			if (pread(fd, buffer, length, part.p_offset + at) < 0)
				err(1, "segment %d, byte %lu", i, at);
			done += length;
		}
	}
	printf("%lu\n", done >> 20);
	return 0;
}
