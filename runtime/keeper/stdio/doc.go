// Package stdio serves the standard streams of the keeper's processes: it moves output into CRI logs and to attached
// clients, and the clients' input to the process.
//
// # What survives
//
// Output travels through FIFOs in a folder. The process holds them open for reading and writing, so that the death of
// every reader breaks nothing, and a successor of this process opens them by path. A chunk of output is first copied
// out of the FIFO (tee(2)), then appended to the log, then taken out of the FIFO. A [Cursor] in shared memory says which chunk is on
// its way, and the kernel itself records that it was taken out: the last byte of that read lands in the cursor. So after
// a kill at any instruction the successor knows exactly what to finish, and every line is in the log once.
//
// An unfinished line waits in the shared memory, up to 16 KiB of it, taken out of the FIFO with the same care. It can't wait
// in the FIFO: a writer that fills a pipe which was not empty before wakes no one (pipe_write in fs/pipe.c).
//
// A terminal's output can't be copied without taking it: what a killed keeper had read and not yet written is lost.
//
// A process that becomes another program keeps everything open and hands it over ([Stdio.Freeze], [Continue]): then nothing is lost, of
// terminals and attached clients neither.
//
// # Who waits for whom
//
// The process waits for its log, as it would for a file, and for a client that was attached before it was there; for nothing
// else. If the log can't be written (disk full) output is dropped, counted and reported, and logging resumes when it can.
// Any other client that does not read is cut off.
//
// The package owns the FIFOs, the keeper's ends of them, the log file and the files of attached clients. Everything that
// belongs to one process runs in that process's lane; there are no other locks. Idle streams hold no goroutine and
// no buffer.
package stdio
