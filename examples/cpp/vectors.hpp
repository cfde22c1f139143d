// `seat --verify-vectors FILE…`: hold this reader to the wire vectors, tests/vectors/leases.json, tree_leases.json and certificates.json.
//
// Whoever ports trust.hpp to another language wants the same mode: it is the proof that both read alike.
#pragma once

#include <fstream>
#include <iostream>
#include <tuple>

#include "trust.hpp"

namespace vectors {

// What this reader makes of a case: "" when it believes, "certificate:signature" and the like when it refuses.
struct Verdict {
    std::string refusal;
    bool claims_agree = true;
};

inline bool same(const trust::Lease& got, const json::Value& claims) {
    const auto want = trust::read_lease(claims);
    return std::tie(got.iss, got.tid, got.prd, got.edn, got.ent, got.act, got.sub, got.nonce, got.dev) ==
               std::tie(want.iss, want.tid, want.prd, want.edn, want.ent, want.act, want.sub, want.nonce, want.dev) &&
           std::tie(got.gen, got.epo, got.seq, got.iat, got.exp, got.feat) ==
               std::tie(want.gen, want.epo, want.seq, want.iat, want.exp, want.feat);
}

inline bool same(const trust::Certificate& got, const json::Value& claims) {
    const auto want = trust::read_certificate(claims);
    const bool covers = got.covers.has_value() == want.covers.has_value() &&
                        (!got.covers || std::tie(got.covers->entitlements, got.covers->features, got.covers->end) ==
                                            std::tie(want.covers->entitlements, want.covers->features, want.covers->end));
    return covers && std::tie(got.tid, got.iss, got.kid, got.key, got.iat, got.nbf, got.exp) ==
                         std::tie(want.tid, want.iss, want.kid, want.key, want.iat, want.nbf, want.exp);
}

inline Verdict judge(const json::Value& test) {
    std::vector<trust::Bytes> roots;
    for (const auto& root : test["roots"].array()) roots.push_back(trust::read_public_key(root.text()));
    const auto& claims = test["result"]["claims"];
    std::string document = "certificate";
    try {
        const auto certificate = trust::check_certificate(test["certificate"].text(), roots);
        if (test["lease"].null()) return {"", claims.null() || same(certificate, claims)};
        document = "lease";
        const auto& wanted = test["expected"];
        trust::Expected expected{wanted["tenantId"].text(), wanted["productId"].text(), wanted["seatId"].text(),
                                 wanted["nonce"].text(), {}};
        if (!wanted["deviceKey"].null()) expected.device = wanted["deviceKey"].text();
        const auto lease = trust::check_lease(test["lease"].text(), certificate, expected);
        return {"", claims.null() || same(lease, claims)};
    } catch (const trust::Untrusted& refusal) {
        return {document + ":" + refusal.reason};
    }
}

inline std::string wanted_refusal(const json::Value& result) {
    if (!result["claims"].null()) return "";
    const auto document = result["document"].null() ? std::string("certificate") : result["document"].text();
    return document + ":" + result["reason"].text();
}

// Check all cases of a file, say what failed, and give the number of failures.
inline int verify(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("can't read " + path);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const auto whole = json::read(text);
    int failed = 0, passed = 0;
    for (const auto& test : whole["cases"].array()) {
        const auto verdict = judge(test);
        const auto wanted = wanted_refusal(test["result"]);
        if (verdict.refusal == wanted && verdict.claims_agree) {
            ++passed;
            continue;
        }
        ++failed;
        const auto told = [](const std::string& refusal) { return refusal.empty() ? std::string("believed") : refusal; };
        std::cout << "FAIL " << test["name"].text() << ": expected " << told(wanted) << ", got " << told(verdict.refusal)
                  << (verdict.claims_agree ? "" : " with other claims") << '\n';
    }
    if (passed + failed == 0) throw std::runtime_error(path + " has no cases");
    std::cout << path << ": " << passed << " passed, " << failed << " failed" << std::endl;
    return failed;
}

}  // namespace vectors
