// SPDX-License-Identifier: GPL-2.0
/*
 * kexec - loads another kernel, and jumps into it
 *
 * usage: kexec load|crash KERNEL INITRD COMMANDLINE	for reboot or for a crash
 *        kexec go					what was loaded for reboot
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEXEC_FILE_ON_CRASH	2

int main(int argc, char **argv)
{
	int kernel, initrd;
	long flags = 0;

	if (argc == 2 && !strcmp(argv[1], "go")) {
		reboot(RB_KEXEC);
		perror("FAIL kexec: reboot");
		return 1;
	}
	if (argc != 5) {
		fprintf(stderr, "FAIL kexec: load|crash KERNEL INITRD COMMANDLINE, or go\n");
		return 1;
	}
	if (!strcmp(argv[1], "crash"))
		flags = KEXEC_FILE_ON_CRASH;
	kernel = open(argv[2], O_RDONLY | O_CLOEXEC);
	initrd = open(argv[3], O_RDONLY | O_CLOEXEC);
	if (kernel < 0 || initrd < 0 ||
	    syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[4]) + 1, argv[4],
		    flags)) {
		perror("FAIL kexec: load");
		return 1;
	}
	return 0;
}
