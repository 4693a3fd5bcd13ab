// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Finding a plugin of gpu_plugin.h: the one way of the library and of the process that
// drives a GPU for it.
#pragma once

#include <dlfcn.h>
#include <megakernel/gpu/plugin.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <vector>

namespace megakernel::gpu {

struct loaded {
  const interface* calls = nullptr;  ///< null: there is none, and `why_not` says why
  device_info found{};
  std::string why_not;
};

/// Loads the first of `files` that finds a GPU. A path is tried where it names a file, a mere name
/// where the system looks; of files of one name the first that can be loaded is the one that
/// counts. `name` is what the sentences call the plugin.
inline loaded load_plugin(std::string_view name, const std::vector<std::string>& files) {
  loaded result;
  std::string refusals;
  std::string refused;  // of the file that was loaded last
  bool missing = true;
  for (const std::string& path : files) {
    const std::string file = path.substr(path.rfind('/') + 1);
    const bool is_path = file.size() != path.size();
    if (file == refused || (is_path && ::access(path.c_str(), F_OK) != 0)) continue;
    const auto record = [&](std::string_view why) {
      refusals += refusals.empty() ? "" : "; ";
      refusals += file;
      refusals += ": ";
      refusals += why;
      missing = false;
    };
    void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      const char* const why = ::dlerror();
      if (is_path) record(why == nullptr ? "it cannot be loaded" : why);
      continue;
    }
    refused = file;
    const auto entry_of = reinterpret_cast<entry>(::dlsym(library, entry_point));
    const interface* const calls = entry_of == nullptr ? nullptr : entry_of(interface_version);
    failure why{};
    if (calls == nullptr) {
      record("it was built for another version of the library");
    } else if (calls->probe(calls->context, &result.found, &why) != call_status::yes) {
      record(why.sentence);
    } else {
      result.calls = calls;
      return result;
    }
  }
  if (missing) {
    result.why_not = "There is no GPU plugin: neither lib" + std::string(name) +
                     ".cuda.so nor .amd.so was found. Build with a GPU toolkit, or name its "
                     "directory in MEGAKERNEL_GPU_PATH.";
  } else {
    result.why_not = "There is no GPU to run on (" + refusals + ").";
  }
  return result;
}

}  // namespace megakernel::gpu
