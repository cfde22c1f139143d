// One HTTP call at a time, over libcurl. Knows nothing of seats.
//
// Redirects are not followed: a license server doesn't move, and a token must not travel elsewhere. HTTPS_PROXY and NO_PROXY
// are obeyed by libcurl itself.
#pragma once

#include <curl/curl.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace http {

// No answer came. Whether the server saw the call is unknown: ask again with the same body and nonce.
struct Unreachable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Call {
    std::string method, url, body;
    std::vector<std::string> headers;
    double timeout = 10.0;  // seconds
};

struct Reply {
    long status = 0;
    std::string body;
    std::map<std::string, std::string> headers;  // names in lower case
};

class Client {
  public:
    // `given_up` ends a call that is under way, so that a program which ends need not wait for a dead server.
    Client(std::string ca_file, const std::atomic<bool>& given_up) : ca_file_(std::move(ca_file)), given_up_(given_up) {
        static const auto once = curl_global_init(CURL_GLOBAL_DEFAULT);
        if (once != CURLE_OK || !handle_) throw std::runtime_error("libcurl can't be used");
    }

    Reply send(const Call& call) {
        Reply reply;
        const auto headers = header_list(call.headers);
        prepare(call, headers.get(), reply);
        const auto outcome = curl_easy_perform(handle_.get());
        if (outcome != CURLE_OK) throw Unreachable(call.url + ": " + (why_[0] ? why_ : curl_easy_strerror(outcome)));
        curl_easy_getinfo(handle_.get(), CURLINFO_RESPONSE_CODE, &reply.status);
        return reply;
    }

  private:
    using Headers = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

    static constexpr std::size_t max_body = 1 << 20;

    static Headers header_list(const std::vector<std::string>& lines) {
        Headers list(nullptr, curl_slist_free_all);
        for (const auto& line : lines) {
            auto* longer = curl_slist_append(list.get(), line.c_str());
            if (!longer) throw std::bad_alloc();
            list.release();
            list.reset(longer);
        }
        return list;
    }

    void prepare(const Call& call, curl_slist* headers, Reply& reply) {
        auto* handle = handle_.get();
        curl_easy_reset(handle);  // keeps the connection
        why_[0] = '\0';
        curl_easy_setopt(handle, CURLOPT_URL, call.url.c_str());
        curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, call.method.c_str());
        curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
        if (!call.body.empty()) {
            curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, static_cast<long>(call.body.size()));
            curl_easy_setopt(handle, CURLOPT_POSTFIELDS, call.body.data());
        }
        curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(call.timeout * 1000));
        curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, 3000L);
        curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, why_);
        if (!ca_file_.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, ca_file_.c_str());
        curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &Client::take_body);
        curl_easy_setopt(handle, CURLOPT_WRITEDATA, &reply);
        curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &Client::take_header);
        curl_easy_setopt(handle, CURLOPT_HEADERDATA, &reply);
        curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, &Client::look_around);
        curl_easy_setopt(handle, CURLOPT_XFERINFODATA, this);
    }

    static std::size_t take_body(char* data, std::size_t, std::size_t size, void* to) {
        auto& body = static_cast<Reply*>(to)->body;
        if (body.size() + size > max_body) return 0;  // ends the call: no answer of ours is that long
        body.append(data, size);
        return size;
    }

    static std::size_t take_header(char* data, std::size_t, std::size_t size, void* to) {
        const std::string_view line(data, size);
        const auto colon = line.find(':');
        if (colon == line.npos) return size;
        std::string name(line.substr(0, colon));
        std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return c < 128 ? std::tolower(c) : c; });
        const auto first = line.find_first_not_of(" \t", colon + 1), last = line.find_last_not_of(" \t\r\n");
        static_cast<Reply*>(to)->headers[name] = first > last ? "" : std::string(line.substr(first, last - first + 1));
        return size;
    }

    static int look_around(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
        return static_cast<Client*>(self)->given_up_ ? 1 : 0;
    }

    std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> handle_{curl_easy_init(), curl_easy_cleanup};
    std::string ca_file_;
    const std::atomic<bool>& given_up_;
    char why_[CURL_ERROR_SIZE] = "";
};

}  // namespace http
