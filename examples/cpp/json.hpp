// A strict JSON reader, just large enough for signed documents.
//
// For what: so that this example needs libcurl and OpenSSL and nothing else. If your program has a JSON library, use that,
// provided it refuses what this one refuses: text that is not UTF-8, half surrogate pairs, NaN, anything after the value,
// two members of one name, and nesting without end. The wire vectors (tests/vectors) will tell you.
#pragma once

#include <cstdint>
#include <cstdio>
#include <limits>
#include <locale>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace json {

struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Value;
struct Member;
using Array = std::vector<Value>;
using Object = std::vector<Member>;

struct Value {
    std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, Array, Object> is = nullptr;

    bool null() const { return std::holds_alternative<std::nullptr_t>(is); }
    bool object() const { return std::holds_alternative<Object>(is); }
    const std::string& text() const { return get<std::string>("text"); }
    std::int64_t integer() const { return get<std::int64_t>("a whole number"); }
    const Array& array() const { return get<Array>("a list"); }
    const Object& members() const { return get<Object>("an object"); }

    double number() const {
        if (const auto* whole = std::get_if<std::int64_t>(&is)) return static_cast<double>(*whole);
        return get<double>("a number");
    }

    // The member of that name, or null: on this wire null and left out are the same.
    const Value& operator[](std::string_view name) const;
    bool has(std::string_view name) const;

  private:
    template <class T> const T& get(const char* what) const {
        if (const auto* value = std::get_if<T>(&is)) return *value;
        throw Error(std::string("expected ") + what);
    }
};

struct Member {
    std::string name;
    Value value;
};

inline bool Value::has(std::string_view name) const {
    for (const auto& member : members())
        if (member.name == name) return true;
    return false;
}

inline const Value& Value::operator[](std::string_view name) const {
    static const Value nothing;
    for (const auto& member : members())
        if (member.name == name) return member.value;
    return nothing;
}

inline void require_utf8(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
        const auto lead = static_cast<unsigned char>(text[at++]);
        if (lead < 0x80) continue;
        const int more = lead >= 0xc2 && lead <= 0xdf ? 1 : (lead & 0xf0) == 0xe0 ? 2 : lead >= 0xf0 && lead <= 0xf4 ? 3 : 0;
        if (more == 0) throw Error("not UTF-8");
        std::uint32_t point = lead & (0x3f >> more);
        for (int i = 0; i < more; ++i, ++at) {
            if (at == text.size() || (static_cast<unsigned char>(text[at]) & 0xc0) != 0x80) throw Error("not UTF-8");
            point = point << 6 | (static_cast<unsigned char>(text[at]) & 0x3f);
        }
        const bool overlong = (more == 2 && point < 0x800) || (more == 3 && point < 0x10000);
        const bool surrogate = point >= 0xd800 && point <= 0xdfff;
        if (overlong || surrogate || point > 0x10ffff) throw Error("not UTF-8");
    }
}

class Reader {
  public:
    explicit Reader(std::string_view text) : text_(text) { require_utf8(text); }

    Value whole() {
        auto value = next(0);
        skip_space();
        if (at_ != text_.size()) throw Error("something follows the JSON value");
        return value;
    }

  private:
    static constexpr int max_depth = 64;

    Value next(int depth) {
        if (depth > max_depth) throw Error("nested too deeply");
        skip_space();
        switch (peek()) {
            case '{': return {read_object(depth)};
            case '[': return {read_array(depth)};
            case '"': return {read_string()};
            case 't': return word("true"), Value{true};
            case 'f': return word("false"), Value{false};
            case 'n': return word("null"), Value{nullptr};
            default: return read_number();
        }
    }

    Object read_object(int depth) {
        Object members;
        for (bool more = opens('{', '}'); more; more = continues('}')) {
            skip_space();
            auto name = read_string();
            for (const auto& member : members)
                if (member.name == name) throw Error("two members are called " + name);
            skip_space();
            expect(':');
            members.push_back({std::move(name), next(depth + 1)});
        }
        return members;
    }

    Array read_array(int depth) {
        Array values;
        for (bool more = opens('[', ']'); more; more = continues(']')) values.push_back(next(depth + 1));
        return values;
    }

    bool opens(char open, char close) {
        expect(open);
        skip_space();
        return !taken(close);
    }

    bool continues(char close) {
        skip_space();
        if (taken(close)) return false;
        expect(',');
        return true;
    }

    std::string read_string() {
        expect('"');
        std::string out;
        while (!taken('"')) {
            const char character = take();
            if (static_cast<unsigned char>(character) < 0x20) throw Error("a control character in a string");
            if (character == '\\') read_escape(out);
            else out += character;
        }
        return out;
    }

    void read_escape(std::string& out) {
        static constexpr std::string_view names = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
        const char character = take();
        if (character == 'u') return append_utf8(out, read_code_point());
        const auto which = names.find(character);
        if (which == names.npos) throw Error("an unknown escape");
        out += meanings[which];
    }

    std::uint32_t read_code_point() {
        const auto unit = read_hex();
        if (unit < 0xd800 || unit > 0xdfff) return unit;
        if (unit > 0xdbff || take() != '\\' || take() != 'u') throw Error("half a surrogate pair");
        const auto low = read_hex();
        if (low < 0xdc00 || low > 0xdfff) throw Error("half a surrogate pair");
        return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }

    std::uint32_t read_hex() {
        static constexpr std::string_view digits = "0123456789abcdef";
        std::uint32_t unit = 0;
        for (int i = 0; i < 4; ++i) {
            const char character = take();
            const bool capital = character >= 'A' && character <= 'F';
            const auto digit = digits.find(capital ? static_cast<char>(character - 'A' + 'a') : character);
            if (digit == digits.npos) throw Error("an escape that is not hexadecimal");
            unit = unit << 4 | static_cast<std::uint32_t>(digit);
        }
        return unit;
    }

    static void append_utf8(std::string& out, std::uint32_t point) {
        const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((point >> shift) & 0x3f)); };
        if (point < 0x80) {
            out += static_cast<char>(point);
        } else if (point < 0x800) {
            out += static_cast<char>(0xc0 | point >> 6), tail(0);
        } else if (point < 0x10000) {
            out += static_cast<char>(0xe0 | point >> 12), tail(6), tail(0);
        } else {
            out += static_cast<char>(0xf0 | point >> 18), tail(12), tail(6), tail(0);
        }
    }

    Value read_number() {
        const auto start = at_;
        taken('-');
        if (!taken('0')) digits();
        const bool whole = peek() != '.' && peek() != 'e' && peek() != 'E';
        if (taken('.')) digits();
        if (taken('e') || taken('E')) {
            if (!taken('+')) taken('-');
            digits();
        }
        std::istringstream in{std::string(text_.substr(start, at_ - start))};
        in.imbue(std::locale::classic());  // a comma for the decimal point is not JSON, whatever the user's locale
        std::int64_t integer = 0;
        if (whole && in >> integer) return {integer};
        in.clear(), in.seekg(0);
        double number = 0;
        if (!(in >> number)) throw Error("a number out of range");
        return {number};
    }

    void digits() {
        if (peek() < '0' || peek() > '9') throw Error("not JSON");
        while (peek() >= '0' && peek() <= '9') ++at_;
    }

    void word(std::string_view expected) {
        if (text_.substr(at_, expected.size()) != expected) throw Error("not JSON");
        at_ += expected.size();
    }

    void skip_space() {
        while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
    }

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    char take() {
        if (at_ == text_.size()) throw Error("the JSON ends too early");
        return text_[at_++];
    }

    bool taken(char character) {
        if (at_ == text_.size() || text_[at_] != character) return false;
        ++at_;
        return true;
    }

    void expect(char character) {
        if (!taken(character)) throw Error("not JSON");
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

inline Value read(std::string_view text) { return Reader(text).whole(); }

// Write a list as JSON. Texts must be quoted already.
inline std::string list(const std::vector<std::string>& items) {
    std::string out;
    for (const auto& item : items) out += (out.empty() ? "[" : ",") + item;
    return out.empty() ? "[]" : out + ']';
}

// Write a text as a JSON string.
inline std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char character : text) {
        if (character == '"' || character == '\\') {
            out += '\\', out += character;
        } else if (static_cast<unsigned char>(character) < 0x20) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(character));
            out += escape;
        } else {
            out += character;
        }
    }
    return out + '"';
}

}  // namespace json
