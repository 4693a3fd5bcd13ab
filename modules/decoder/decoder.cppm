// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
/// Strict decoders of what is read back from a device, untrusted bytes all of it.
/// docs/protocol.md#decode-validation
export module megakernel.decoder;
export import megakernel.protocol;  // the types it is told in
export import :control;             // the 160 fixed control words
export import :view;                // validated bytes; a slot is decoded when asked for
export import :window;              // tickets and how far their slots are
export import :telemetry;           // occupancy and windows, with every slot or without
export import :digest;              // the same out of what a device made of the ring
