// SPDX-License-Identifier: GPL-2.0
/* Pages of files that go elsewhere without a copy in user memory. */
#include "cost.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#define CHUNK	(8 * PAGE)

static int to, from, null;

static void setup_pipe(void)
{
	int ends[2];

	must(pipe(ends));
	from = ends[0];
	to = ends[1];
	null = must(open("/dev/null", O_WRONLY));
}

static unsigned long splice_file(void)
{
	for (loff_t off = 0; off < (loff_t)length;) {
		all_of(splice(fd, &off, to, NULL, CHUNK, 0), CHUNK);
		all_of(splice(from, NULL, null, NULL, CHUNK, 0), CHUNK);
	}
	return length / PAGE;
}

/* A connection with ourselves. */
static void setup_tcp(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(4096),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int listener = must(socket(AF_INET, SOCK_STREAM, 0)), size = MIB, on = 1;

	must(ioctl(listener, SIOCSIFFLAGS, &lo));
	must(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	must(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
	must(bind(listener, (void *)&address, sizeof(address)));
	must(listen(listener, 1));
	to = must(socket(AF_INET, SOCK_STREAM, 0));
	must(setsockopt(to, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	must(setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
	must(connect(to, (void *)&address, sizeof(address)));
	from = must(accept(listener, NULL, NULL));
}

static unsigned long send_file(void)
{
	for (off_t off = 0; off < (off_t)length;) {
		all_of(sendfile(to, fd, &off, CHUNK), CHUNK);
		all_of(recv(from, buffer, CHUNK, MSG_WAITALL), CHUNK);
	}
	return length / PAGE;
}

const struct load pipe_loads[] = {
	{ "splice", "page", MIB_PAGES, setup_pipe, splice_file },
	{ "sendfile", "page", MIB_PAGES, setup_tcp, send_file },
	{ }
};
