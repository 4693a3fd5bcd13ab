# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A GPU program that finds no GPU ends with status 77 and one sentence that says so.
cmake_path(GET PROGRAM STEM name)
execute_process(COMMAND ${PROGRAM} TIMEOUT 60
  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE errors)
if(NOT status STREQUAL "77" OR NOT errors STREQUAL ""
   OR NOT output MATCHES "^${name}: there is no GPU [^\n]+ \\([^\n]+\\)\n$")
  message(FATAL_ERROR "status ${status}\noutput: ${output}\nerrors: ${errors}")
endif()
