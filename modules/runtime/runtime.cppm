// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
/// The system in motion: buffers, producers, a kernel that drains them, and what is
/// read of it while it runs. docs/protocol.md#one-interpreter
export module megakernel.runtime;
export import :deadline;          // until when a call may wait
export import :kernel;            // the interpreter, and memory of this machine for it
export import :mapped_region;     // memory that other processes can share
export import :buffers;           // what a launch's memory is made of
export import :submission_queue;  // work from many threads into one ring
export import :target;            // where lanes run, as the runtime sees it
export import :workers;           // lanes as threads of this machine
export import :upload_scanner;    // what was published and a device has not been given
export import :gpu;               // lanes of a GPU
export import :snapshot;          // a ring that is being worked on, read without tears
export import :digest;            // the same reduced to figures, by the device where it can
export import :pump;              // LOAD_MISS, answered from files
export import :watchdog;          // health, look by look
export import :session;           // all of it, owned and shut down in order
