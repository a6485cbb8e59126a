/* SPDX-License-Identifier: GPL-2.0 */
/* What kills a process of stress or fuzz is said by their fail(), which is declared before. */
#ifndef WATCHED_H
#define WATCHED_H

#include <signal.h>

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	fail("signal %d (%s) at address %p", sig, strsignal(sig), info->si_addr);
}

static inline void watch_signals(void)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESETHAND };
	int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE };

	for (int i = 0; i < 4; i++)
		sigaction(fatal[i], &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

#endif
