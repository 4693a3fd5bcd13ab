// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Order and scope of an access to memory that several sides share, as types: every compiler that
// builds a target needs them at compile time.
#pragma once

namespace megakernel::device {

enum class order { relaxed, acquire, release, acq_rel };

/// Who else takes part: the lanes of a block, of the device, or the host, too.
enum class scope { block, device, system };

template <order O>
struct order_tag {};
template <scope S>
struct scope_tag {};

inline constexpr order_tag<order::relaxed> relaxed{};
inline constexpr order_tag<order::acquire> acquire{};
inline constexpr order_tag<order::release> release{};
inline constexpr order_tag<order::acq_rel> acq_rel{};

inline constexpr scope_tag<scope::block> in_block{};
inline constexpr scope_tag<scope::device> in_device{};
inline constexpr scope_tag<scope::system> in_system{};

}  // namespace megakernel::device
