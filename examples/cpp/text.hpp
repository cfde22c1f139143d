// Foreign text for a terminal: names and servers' sentences are strangers' words.
//
// A terminal obeys control characters, and format characters make one text look like another. The ranges are those of the
// Python SDK's protocol/text.py: Unicode's categories Cc, Cf, Zl and Zp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace text {

inline bool hidden(std::uint32_t point) {
    static constexpr std::pair<std::uint32_t, std::uint32_t> ranges[] = {
        {0x0, 0x1f}, {0x7f, 0x9f}, {0xad, 0xad}, {0x600, 0x605}, {0x61c, 0x61c}, {0x6dd, 0x6dd}, {0x70f, 0x70f},
        {0x890, 0x891}, {0x8e2, 0x8e2}, {0x180e, 0x180e}, {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},
        {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0x110bd, 0x110bd}, {0x110cd, 0x110cd}, {0x13430, 0x1343f}, {0x1bca0, 0x1bca3},
        {0x1d173, 0x1d17a}, {0xe0001, 0xe0001}, {0xe0020, 0xe007f}};
    return std::any_of(std::begin(ranges), std::end(ranges),
                       [&](const auto& range) { return range.first <= point && point <= range.second; });
}

// The same text for one line, with what would not be seen, or be obeyed, as `<U+001B>`. It must be UTF-8, as json::read checks.
inline std::string visible(std::string_view text) {
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        const auto lead = static_cast<unsigned char>(text[at]);
        const std::size_t size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        const auto bytes = text.substr(at, size);
        std::uint32_t point = size == 1 ? lead : lead & (0x7fu >> size);
        for (std::size_t next = 1; next < bytes.size(); ++next)
            point = point << 6 | (static_cast<unsigned char>(bytes[next]) & 0x3f);
        char escape[16];
        std::snprintf(escape, sizeof escape, "<U+%04X>", static_cast<unsigned>(point));
        out += hidden(point) ? std::string_view(escape) : bytes;
        at += size;
    }
    return out;
}

}  // namespace text
