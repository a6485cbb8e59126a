/* SPDX-License-Identifier: GPL-2.0 */
/*
 * page_hva_late_mark() against late_pass(), for one block of pages.
 *
 * Question: can something be left to do, with nobody who will do it?
 *
 * Machine: as in pair.pml, only a later load passes an earlier store, so a CPU that
 * marks may see "a pass is pending" as it was before its own mark is visible.  What
 * there is to do is visible at once: a pass comes seconds later.
 *
 * Configurations (cpp -D):
 *   NO_MB_MARK	no barrier between the mark and the test for a pending pass
 *   CLEAR_LAST	the workqueue clears "pending" at the end of a pass, not before it
 *   CLEAR_BLIND	the pass takes away marks that it has not seen
 *   NO_WAITING	the pass drops the marks that it found
 *   REACH_*	not a rule: the named state must be reachable
 */

bit todo;			/* something is to be done in the block */
bit marked, waiting;		/* the block's bits in the maps */
bit pending;			/* a pass is queued */
bit kick;			/* the interrupt that queues one is on its way */
byte marks = 3;			/* how often something comes up */

/* A CPU with one store in flight. */
proctype marker()
{
	bit store;

end:	do
	:: marks > 0 ->
		atomic { marks--; todo = 1 }
		if
		:: marked
		:: else ->
			store = 1;
#ifndef NO_MB_MARK
			atomic { marked = 1; store = 0 }
#endif
			if
			:: pending
			:: !pending -> kick = 1
			fi;
			if
			:: store -> atomic { marked = 1; store = 0 }
			:: else
			fi
		fi
	od
}

proctype irq()
{
end:	do
	:: atomic { kick -> kick = 0; pending = 1 }
	od
}

proctype pass()
{
	bit seen;

end:	do
	:: pending ->
#ifndef CLEAR_LAST
		pending = 0;
#endif
		if
		:: waiting && !marked -> waiting = 0; todo = 0
#ifdef REACH_DONE
			; assert(false)
#endif
		:: else
		fi;
		seen = marked;
		if
		:: seen -> marked = 0
		:: else
#ifdef CLEAR_BLIND
			-> marked = 0
#endif
		fi;
#ifndef NO_WAITING
		waiting = waiting | seen;
#endif
		if
		:: waiting -> pending = 1
		:: else
#ifdef CLEAR_LAST
			-> pending = 0
#endif
		fi
	od
}

init
{
	atomic { run marker(); run marker(); run irq(); run pass() }
	/* Nothing moves any more. */
	timeout -> assert(!todo)
}
