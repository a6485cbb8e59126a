// SPDX-License-Identifier: GPL-2.0
/* Processes and programs; DIR/bin has the programs. */
#include "cost.h"
#include <sys/wait.h>

static void reap(pid_t pid)
{
	int status;

	must(waitpid(pid, &status, 0));
	if (status)
		fail("a process ends with status %x", status);
}

static unsigned long fork_and_exit(void)
{
	pid_t pid = must(fork());

	if (!pid)
		_exit(0);
	reap(pid);
	return 1;
}

static unsigned long execute(const char *name, char *const argv[])
{
	static int null = -1;
	char path[256];
	pid_t pid;

	if (null < 0)
		null = must(open("/dev/null", O_WRONLY | O_CLOEXEC));
	snprintf(path, sizeof(path), "%s/bin/%s", dir, name);
	pid = must(vfork());
	if (!pid) {
		dup2(null, 1);
		execv(path, argv);
		_exit(1);
	}
	reap(pid);
	return 1;
}

static unsigned long exec_static(void)
{
	return execute("busybox", (char *[]){ "true", NULL });
}

/* The loader and the C library. */
static unsigned long exec_dynamic(void)
{
	return execute("dynamic-hello", (char *[]){ "dynamic-hello", "--libs", NULL });
}

/* What a compile run does to memory, without a compiler. */
static unsigned long compile(void)
{
	char sources[256], work[256];

	snprintf(sources, sizeof(sources), "%s/sources", dir);
	snprintf(work, sizeof(work), "%s/work", dir);
	execute("churn", (char *[]){ "churn", "8", sources, work, NULL });
	return 8;
}

const struct load process_loads[] = {
	{ "fork", "process", 0, NULL, fork_and_exit },
	{ "exec-static", "program", 0, NULL, exec_static },
	{ "exec-dynamic", "program", 0, NULL, exec_dynamic },
	{ "compile", "job", 0, NULL, compile },
	{ }
};
