// A program that needs a seat: takes one, works while it is held, gives it back.
//
//     seat [--seat-id ID] [--feature KEY[=N]]... [--seconds N]
//     seat --verify-vectors FILE...
//
// Settings: SEATKEEPER_SERVER, _CODE, _TENANT, _PRODUCT, _PUBLIC_KEY, and _CA_FILE if the server's TLS certificate is signed by
// your own authority. Exit codes: 0 worked and gave back, 75 no seat, or lost it, 69 server unreachable, 76 server not to be
// trusted, 77 not authorised, 78 configuration, 1 vectors failed.
//
// Read seat.hpp for how a seat is held, trust.hpp for what is believed.

#include <unistd.h>

#include <csignal>

#include "seat.hpp"
#include "vectors.hpp"

namespace {

volatile std::sig_atomic_t interrupted = 0;

struct Options {
    std::string seat_id;
    trust::Features features;
    double seconds = 1e18;
    std::vector<std::string> vectors;
};

// By default each process is a seat of its own. With a name of your own, a second program of that name takes the seat over.
std::string default_seat_id() {
    char host[256] = "localhost";
    gethostname(host, sizeof host - 1);
    const char* user = std::getenv("USER");
    return std::string(user ? user : "user") + "@" + host + "/" + std::to_string(getpid());
}

double number(const std::string& option, const std::string& text) {
    std::istringstream in(text);
    double value = 0;
    if (!(in >> value) || !in.eof() || value < 0) throw settings::Error(option + ": " + text + " is no number");
    return value;
}

Options read_options(const std::vector<std::string>& arguments) {
    Options options;
    for (std::size_t at = 0; at < arguments.size(); ++at) {
        const auto& name = arguments[at];
        const auto value = [&] {
            if (++at >= arguments.size()) throw settings::Error(name + " needs a value");
            return arguments[at];
        };
        if (name == "--seat-id") options.seat_id = value();
        else if (name == "--seconds") options.seconds = number(name, value());
        else if (name == "--feature") {
            const auto wanted = value();
            const auto equals = wanted.find('=');
            const auto amount = equals == wanted.npos ? 1 : number(name, wanted.substr(equals + 1));
            options.features[wanted.substr(0, equals)] = static_cast<std::int64_t>(amount);
        } else if (name == "--verify-vectors") {
            while (at + 1 < arguments.size()) options.vectors.push_back(arguments[++at]);
        } else throw settings::Error("unknown option " + name);
    }
    if (options.seat_id.empty()) options.seat_id = default_seat_id();
    return options;
}

// What your program does instead. Here: say so, and wait for time, signal or loss.
void work(const Seat& seat, double seconds) {
    const auto lease = seat.lease();
    std::cout << "Seat " << lease.sub << " held from " << seat.server() << ", refreshed every " << (lease.exp - lease.iat) / 3
              << " s" << std::endl;
    for (const auto& [key, amount] : lease.feat) std::cout << "Feature " << key << ": " << amount << std::endl;
    for (const Moment start; seat.held() && !interrupted && start.seconds_since() < seconds;)
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

int run(const Options& options) {
    std::signal(SIGINT, [](int) { interrupted = 1; });
    std::signal(SIGTERM, [](int) { interrupted = 1; });
    bool kept = false;
    {
        Seat seat(settings::from_environment(), options.seat_id, options.features, [](const std::string& why) {
            std::cerr << "Seat lost: " << why << "\nSave your work." << std::endl;
        });
        work(seat, options.seconds);
        kept = seat.held();
    }
    if (kept) std::cout << "Seat given back" << std::endl;
    return kept ? 0 : 75;
}

int verify(const std::vector<std::string>& files) {
    int failed = 0;
    for (const auto& file : files) failed += vectors::verify(file);
    return failed ? 1 : 0;
}

}  // namespace

int main(int count, char** arguments) try {
    const auto options = read_options({arguments + 1, arguments + count});
    return options.vectors.empty() ? run(options) : verify(options.vectors);
} catch (const Refusal& refusal) {
    std::cerr << "No seat: " << refusal.explained() << std::endl;
    return refusal.status == 401 || refusal.status == 403 ? 77 : 75;
} catch (const http::Unreachable& error) {
    std::cerr << "No license server answers: " << error.what() << std::endl;
    return 69;
} catch (const trust::Untrusted& error) {
    std::cerr << "This license server is " << error.what() << ". Check SEATKEEPER_SERVER and SEATKEEPER_PUBLIC_KEY."
              << std::endl;
    return 76;
} catch (const std::exception& error) {
    std::cerr << "Configuration: " << error.what() << std::endl;
    return 78;
}
