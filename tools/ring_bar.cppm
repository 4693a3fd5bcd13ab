module;
#include <cstddef>
#include <cstdint>
#include <string>
export module megakernel.tool:ring_bar;
import megakernel;
import :inspect;
import :layout;

/// A ring's slots by status, as a bar.
export namespace megakernel::tool {

[[nodiscard]] ink colour_of(slot_status status) noexcept;
[[nodiscard]] ink colour_of(condition c) noexcept;

/// `"██▓▒▒▒····"`, `cells` columns wide: finished, moving, waiting, wrong, free. Every status that
/// occurs has at least one column while there are enough. Blank for an empty ring.
[[nodiscard]] std::string ring_bar(const ring_occupancy& of, std::size_t cells, const screen& on);

/// The bar as wide as the screen, and what its glyphs mean, with counts.
void print_ring(const ring_occupancy& of, screen& to);

}  // namespace megakernel::tool
