// Where this program finds its settings: the environment, in the contract's names.
//
// A product of yours has tenant, product and public key in its code instead, so that a customer can't swap them for those of a
// server of his own. Place (server, code) is the customer's to decide.
#pragma once

#include <cstdlib>
#include <fstream>

#include "trust.hpp"

namespace settings {

struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Settings {
    std::string tenant, product, code, ca_file;
    std::vector<std::string> servers;  // base URLs, asked in this order
    std::vector<trust::Bytes> roots;   // pinned; two while a root is being replaced
};

inline std::string optional(const std::string& name) {
    if (const char* value = std::getenv(name.c_str()); value && *value) return value;
    const char* path = std::getenv((name + "_FILE").c_str());
    if (!path || !*path) return "";
    std::ifstream file(path);
    std::string value;
    if (!(file >> value)) throw Error(name + "_FILE: " + path + " can't be read");
    return value;
}

inline std::string needed(const std::string& name) {
    auto value = optional(name);
    if (value.empty()) throw Error(name + " is not set; `seatkeeper sell ... --env` prints all settings");
    return value;
}

inline std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> parts;
    std::istringstream in(text);
    for (std::string part; std::getline(in, part, ',');)
        if (!part.empty()) parts.push_back(part);
    return parts;
}

// A server is a URL or port@host.
inline std::string base_url(std::string server) {
    if (const auto at = server.find('@'); at != server.npos && server.find('/') == server.npos)
        return "http://" + server.substr(at + 1) + ":" + server.substr(0, at);
    if (server.rfind("http://", 0) != 0 && server.rfind("https://", 0) != 0)
        throw Error("SEATKEEPER_SERVER: " + server + " is neither a URL nor port@host");
    while (server.back() == '/') server.pop_back();
    return server;
}

inline Settings from_environment() {
    Settings found{needed("SEATKEEPER_TENANT"), needed("SEATKEEPER_PRODUCT"), needed("SEATKEEPER_CODE"), {}, {}, {}};
    if (const char* path = std::getenv("SEATKEEPER_CA_FILE")) found.ca_file = path;
    for (const auto& server : split(needed("SEATKEEPER_SERVER"))) found.servers.push_back(base_url(server));
    try {
        for (const auto& root : split(needed("SEATKEEPER_PUBLIC_KEY"))) found.roots.push_back(trust::read_public_key(root));
    } catch (const trust::Untrusted&) {
        throw Error("SEATKEEPER_PUBLIC_KEY is not 43 characters of base64url; copy it again from `seatkeeper sell`");
    }
    return found;
}

}  // namespace settings
