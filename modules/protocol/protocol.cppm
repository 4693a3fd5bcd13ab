// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
/// The wire protocol of the persistent-kernel work ring, host side. docs/protocol.md
export module megakernel.protocol;
export import :abi;      // what host and device agree on
export import :error;    // how a call can be refused, as a value
export import :memory;   // cache-line-aligned storage whose allocation failure is a value
export import :encode;   // fresh buffers
export import :publish;  // work into the ring
export import :read;     // single words, metrics, debug records out of read-back bytes
export import :io;       // the queue of IO requests
