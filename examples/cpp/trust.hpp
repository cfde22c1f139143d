// Whom a program believes: one pinned root, the keys it certified, the leases those signed.
//
// The same checks in the same order as the Python SDK's protocol/envelopes.py, tree.py and trust.py, so that all of
// tests/vectors comes out the same (`seat --verify-vectors`). Nothing in here opens a socket or asks the time. Nothing in
// a token ever chooses how the token is checked: one algorithm, one type, one key.
#pragma once

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <map>
#include <memory>
#include <optional>

#include "json.hpp"

namespace trust {

// The document is not what it claims to be. `reason` says which check failed.
struct Untrusted : std::runtime_error {
    explicit Untrusted(std::string reason_) : std::runtime_error("not to be trusted: " + reason_), reason(std::move(reason_)) {}
    std::string reason;
};

inline void require(const char* reason, bool holds) {
    if (!holds) throw Untrusted(reason);
}

// --- base64url, keys, signatures ---------------------------------------------------------------------------------------

using Bytes = std::string;
using Keys = std::map<std::string, Bytes>;  // key id to 32 raw bytes

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

inline std::string b64url(std::string_view bytes) {
    std::string out;
    unsigned bits = 0, held = 0;
    for (const char byte : bytes) {
        bits = (bits << 8 | static_cast<unsigned char>(byte)) & 0xffff, held += 8;
        for (; held >= 6; held -= 6) out += alphabet[bits >> (held - 6) & 63];
    }
    if (held) out += alphabet[bits << (6 - held) & 63];
    return out;
}

// Decode strictly: no padding, no white space, and only the one spelling that encoding gives.
inline Bytes unb64url(std::string_view text) {
    Bytes out;
    unsigned bits = 0, held = 0;
    for (const char character : text) {
        const auto value = alphabet.find(character);
        require("malformed", value != alphabet.npos);
        bits = (bits << 6 | static_cast<unsigned>(value)) & 0xffff, held += 6;
        if (held >= 8) held -= 8, out += static_cast<char>(bits >> held & 0xff);
    }
    require("malformed", b64url(out) == text);
    return out;
}

inline Bytes read_public_key(std::string_view text) {
    auto raw = unb64url(text);
    require("malformed", raw.size() == 32);
    return raw;
}

inline Bytes sha256(std::string_view bytes) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
    return {reinterpret_cast<const char*>(digest), sizeof digest};
}

// The `kid` of a public key: the first 16 characters of its SHA-256.
inline std::string key_id(const Bytes& key) { return b64url(sha256(key)).substr(0, 16); }

inline bool signature_fits(const Bytes& key, std::string_view document, const Bytes& signature) {
    const auto raw = [](std::string_view bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); };
    std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> public_key(
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw(key), key.size()), EVP_PKEY_free);
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    return public_key && context &&
           EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, public_key.get()) == 1 &&
           EVP_DigestVerify(context.get(), raw(signature), signature.size(), raw(document), document.size()) == 1;
}

// 192 random bits for a `clientNonce`: what makes a recorded answer useless.
inline std::string fresh_nonce() {
    unsigned char bytes[24];
    if (RAND_bytes(bytes, sizeof bytes) != 1) throw std::runtime_error("no randomness is to be had");
    return b64url({reinterpret_cast<const char*>(bytes), sizeof bytes});
}

// A device's key, made for this process. What it signs, nobody else can say: not even a proxy that saw the access token.
// (The Python SDK keeps its key in a file; on leases over 15 minutes a restarted program takes its place back by it.)
class Device {
  public:
    std::string public_key() const {
        std::string raw(32, '\0');
        auto size = raw.size();
        if (EVP_PKEY_get_raw_public_key(key_.get(), reinterpret_cast<unsigned char*>(raw.data()), &size) != 1) fail();
        return b64url(raw);
    }

    std::string prove(std::string_view said) const {
        std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
        std::string signature(64, '\0');
        auto size = signature.size();
        if (!context || EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) != 1 ||
            EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                           reinterpret_cast<const unsigned char*>(said.data()), said.size()) != 1)
            fail();
        return b64url(signature);
    }

  private:
    [[noreturn]] static void fail() { throw std::runtime_error("OpenSSL can't sign with Ed25519"); }

    static EVP_PKEY* make() {
        auto* key = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
        if (!key) fail();
        return key;
    }

    std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_{make(), EVP_PKEY_free};
};

// --- envelopes: compact JWS with Ed25519 and nothing else (RFC 7515, RFC 9864) ----------------------------------------

constexpr std::size_t max_token = 16 * 1024;

using Parts = std::vector<std::string_view>;

inline Parts split(std::string_view token) {
    Parts parts;
    for (std::size_t from = 0, dot = 0; dot != token.npos; from = dot + 1) {
        dot = token.find('.', from);
        parts.push_back(token.substr(from, dot == token.npos ? dot : dot - from));
    }
    return parts;
}

inline json::Value read_json(const Bytes& text) {
    try {
        return json::read(text);
    } catch (const json::Error&) {
        throw Untrusted("malformed");
    }
}

// The key that a header names, if the header is that of a document of the expected type.
inline const Bytes& key_for(std::string_view header, std::string_view typ, const Keys& keys) {
    const auto head = read_json(unb64url(header));
    require("malformed", head.object() && head.members().size() == 3);  // no jwk, jku, crit or other ideas
    std::map<std::string, std::string> says;
    for (const char* name : {"alg", "typ", "kid"}) {
        require("malformed", std::holds_alternative<std::string>(head[name].is));
        says[name] = head[name].text();
    }
    require("algorithm", says["alg"] == "Ed25519");
    require("type", says["typ"] == typ);
    const auto key = keys.find(says["kid"]);
    require("unknown-key", key != keys.end());
    return key->second;
}

// What of a token is signed, or hashed: header and payload as they came.
inline std::string_view signed_part(std::string_view token, const Parts& parts) {
    return token.substr(0, parts[0].size() + 1 + parts[1].size());
}

// The payload of a token whose signature, type and key are as expected.
inline Bytes open_envelope(std::string_view token, std::string_view typ, const Keys& keys) {
    const auto parts = split(token);
    require("malformed", token.size() <= max_token && parts.size() == 3);
    const auto& key = key_for(parts[0], typ, keys);
    require("signature", signature_fits(key, signed_part(token, parts), unb64url(parts[2])));
    return unb64url(parts[1]);
}

// --- leases in trees: many signed at once, each with its path to the root that was signed (RFC 9162, section 2.1.3.2) -----

constexpr std::size_t hash_size = 32;

inline unsigned two_bytes(const Bytes& bytes, std::size_t at) {
    return static_cast<unsigned>(static_cast<unsigned char>(bytes[at]) << 8 | static_cast<unsigned char>(bytes[at + 1]));
}

// The root that a leaf and its place in a tree lead to. A place is index, size, and the siblings' hashes on the way up; on the
// right edge of a tree that is not full, a node may have no sibling and moves up as it is.
inline Bytes root_of(Bytes hash, const Bytes& place) {
    require("malformed", place.size() >= 4);
    auto index = two_bytes(place, 0), width = two_bytes(place, 2);
    require("malformed", index < width);
    std::size_t next = 4;
    for (; width > 1; index /= 2, width = (width + 1) / 2) {
        const bool is_right = index % 2 == 1;
        if (!is_right && index + 1 == width) continue;
        require("malformed", place.size() - next >= hash_size);
        const auto sibling = place.substr(next, hash_size);
        hash = sha256('\1' + (is_right ? sibling + hash : hash + sibling));
        next += hash_size;
    }
    require("malformed", next == place.size());
    return hash;
}

// The payload of a lease in a tree: header.payload.place.signature.
inline Bytes open_leaf(std::string_view token, const Keys& keys) {
    const auto parts = split(token);
    require("malformed", token.size() <= max_token && parts.size() == 4);
    const auto place = unb64url(parts[2]);
    const auto root = root_of(sha256('\0' + Bytes(signed_part(token, parts))), place);
    const auto& key = key_for(parts[0], "seatkeeper-lease-tree", keys);
    const auto said = "seatkeeper lease tree v1" + Bytes(1, '\0') + place.substr(2, 2) + root;
    require("signature", signature_fits(key, said, unb64url(parts[3])));
    return unb64url(parts[1]);
}

// The payload of a lease of either type; its shape says which.
inline Bytes open_lease(std::string_view token, const Keys& keys) {
    return split(token).size() == 4 ? open_leaf(token, keys) : open_envelope(token, "seatkeeper-lease+jwt", keys);
}

// --- claims --------------------------------------------------------------------------------------------------------------

using Features = std::map<std::string, std::int64_t>;

// What a local server's key may sign for.
struct Covers {
    std::vector<std::string> entitlements;
    Features features;
    double end = 0;
};

struct Certificate {
    std::string tid, iss, kid, key;
    double iat = 0, nbf = 0, exp = 0;  // seconds since 1970
    std::optional<Covers> covers;
};

struct Lease {
    std::string iss, tid, prd, edn, ent, act, sub;
    Features feat;
    double iat = 0, exp = 0;  // seconds since 1970
    std::int64_t gen = 0, epo = 0, seq = 0;
    std::optional<std::string> nonce, dev;  // dev: the device it was given to
};

// What the lease just asked for must say; anything else is somebody else's lease.
struct Expected {
    std::string tenant_id, product_id, seat_id, nonce;
    std::optional<std::string> device;  // the key that was proven, if one was
};

inline Features read_features(const json::Value& value) {
    Features features;
    for (const auto& [key, amount] : value.members()) features[key] = amount.integer();
    return features;
}

inline Covers read_covers(const json::Value& value) {
    Covers covers{{}, read_features(value["features"]), value["end"].number()};
    for (const auto& entitlement : value["entitlements"].array()) covers.entitlements.push_back(entitlement.text());
    return covers;
}

inline Certificate read_certificate(const json::Value& is) {
    Certificate claims;
    claims.tid = is["tid"].text(), claims.iss = is["iss"].text(), claims.kid = is["kid"].text(), claims.key = is["key"].text();
    claims.iat = is["iat"].number(), claims.nbf = is["nbf"].number(), claims.exp = is["exp"].number();
    if (!is["covers"].null()) claims.covers = read_covers(is["covers"]);
    return claims;
}

inline Lease read_lease(const json::Value& is) {
    Lease claims;
    claims.iss = is["iss"].text(), claims.tid = is["tid"].text(), claims.prd = is["prd"].text(), claims.edn = is["edn"].text();
    claims.ent = is["ent"].text(), claims.act = is["act"].text(), claims.sub = is["sub"].text();
    claims.gen = is["gen"].integer(), claims.epo = is["epo"].integer(), claims.seq = is["seq"].integer();
    claims.iat = is["iat"].number(), claims.exp = is["exp"].number();
    claims.feat = read_features(is["feat"]);
    if (!is["nonce"].null()) claims.nonce = is["nonce"].text();
    if (!is["dev"].null()) claims.dev = is["dev"].text();
    return claims;
}

template <class Read> auto read_claims(const Bytes& payload, Read read) {
    try {
        return read(json::read(payload));
    } catch (const json::Error&) {
        throw Untrusted("malformed");
    }
}

// --- the chain -------------------------------------------------------------------------------------------------------------

// The claims of a certificate signed by a pinned root.
inline Certificate check_certificate(std::string_view token, const std::vector<Bytes>& roots) {
    Keys keys;
    for (const auto& root : roots) keys[key_id(root)] = root;
    return read_claims(open_envelope(token, "seatkeeper-cert+jwt", keys), read_certificate);
}

inline void check_grant(const Lease& lease, const Covers& covers) {
    bool named = false;
    for (const auto& entitlement : covers.entitlements) named = named || entitlement == lease.ent;
    require("entitlement", named);
    for (const auto& [key, amount] : lease.feat) {
        const auto granted = covers.features.find(key);
        require("feature", amount <= (granted == covers.features.end() ? 0 : granted->second));
    }
    require("end", lease.exp <= covers.end);
}

// The claims of a lease that this program may act on (contract, "Rules of the seat", 7).
inline Lease check_lease(std::string_view token, const Certificate& certificate, const Expected& expected) {
    const Keys keys{{certificate.kid, read_public_key(certificate.key)}};
    const auto lease = read_claims(open_lease(token, keys), read_lease);
    require("tenant", lease.tid == expected.tenant_id && certificate.tid == expected.tenant_id);
    require("product", lease.prd == expected.product_id);
    require("seat", lease.sub == expected.seat_id);
    require("nonce", lease.nonce == expected.nonce);
    require("issuer", lease.iss == certificate.iss);
    require("validity", certificate.nbf <= lease.iat && lease.iat < lease.exp && lease.exp <= certificate.exp);
    if (certificate.covers) check_grant(lease, *certificate.covers);
    require("device", lease.dev == expected.device);
    return lease;
}

}  // namespace trust
