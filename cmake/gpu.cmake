# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Programs for GPUs from .hip sources, compiled beside the rest of the tree: neither its languages
# nor its flags change, and where no GPU toolkit is found all else builds.
#
# Sets MEGAKERNEL_GPU_TOOLKITS to those that work: `cuda`, an nvcc, and `amd`, clang with the HIP
# runtime and the device libraries.
include_guard()

option(MEGAKERNEL_GPU "Build the GPU programs, with each GPU toolkit that is found" OFF)
set(MEGAKERNEL_CUDA_ARCHITECTURE sm_90 CACHE STRING "What nvcc compiles for")
set(MEGAKERNEL_AMD_ARCHITECTURES gfx90a gfx1030 CACHE STRING "What clang compiles HIP for")
set(MEGAKERNEL_GPU_TOOLKITS "")

set(gpu_flags -std=c++17 -O3 -I${PROJECT_SOURCE_DIR}/kernels)

# A toolkit counts when it compiles and links a kernel: installations are often incomplete. Only
# success is remembered, so that the next configuring sees what was installed meanwhile.
function(megakernel_try_gpu_toolkit toolkit)
  if(NOT MEGAKERNEL_GPU_${toolkit}_WORKS)
    set(work ${CMAKE_BINARY_DIR}/gpu_probe)
    file(WRITE ${work}/probe.hip
      "#include <megakernel/device/wave.h>\n"
      "__global__ void kernel(unsigned* word) {\n"
      "  using namespace megakernel::device;\n"
      "  fetch_add(word, load(word, acquire, in_system), release, in_device);\n"
      "}\n"
      "int main() { return hipSuccess; }\n")
    execute_process(
      COMMAND ${gpu_${toolkit}_compile} -c ${work}/probe.hip -o ${work}/probe.${toolkit}.o
      RESULT_VARIABLE failed OUTPUT_VARIABLE why ERROR_VARIABLE why)
    if(NOT failed)
      execute_process(
        COMMAND ${gpu_${toolkit}_link} ${work}/probe.${toolkit}.o -o ${work}/probe.${toolkit}
        RESULT_VARIABLE failed OUTPUT_VARIABLE why ERROR_VARIABLE why)
    endif()
    if(failed)
      message(STATUS "GPU programs: not with ${toolkit}, which does not build a kernel:\n${why}")
      return()
    endif()
    set(MEGAKERNEL_GPU_${toolkit}_WORKS TRUE CACHE INTERNAL "")
  endif()
  message(STATUS "GPU programs: with ${toolkit}, for ${ARGN}")
  list(APPEND MEGAKERNEL_GPU_TOOLKITS ${toolkit})
  set(MEGAKERNEL_GPU_TOOLKITS ${MEGAKERNEL_GPU_TOOLKITS} PARENT_SCOPE)
endfunction()

if(MEGAKERNEL_GPU)
  find_program(NVCC nvcc PATHS /usr/local/cuda/bin)
  if(NVCC)
    # The runtime is linked in, so that a binary runs wherever the driver is.
    set(gpu_cuda_compile ${NVCC} -x cu -arch=${MEGAKERNEL_CUDA_ARCHITECTURE} ${gpu_flags}
      -Werror all-warnings -Xcompiler -fPIC,-Wall,-Wextra,-Wshadow,-Werror)
    set(gpu_cuda_link ${NVCC} -arch=${MEGAKERNEL_CUDA_ARCHITECTURE} -cudart static)
    megakernel_try_gpu_toolkit(cuda ${MEGAKERNEL_CUDA_ARCHITECTURE})
  else()
    message(STATUS "GPU programs: not with cuda, there is no nvcc")
  endif()

  find_path(HIP_INCLUDE_DIR hip/hip_runtime.h HINTS $ENV{ROCM_PATH} /opt/rocm PATH_SUFFIXES include)
  cmake_path(GET HIP_INCLUDE_DIR PARENT_PATH rocm)
  find_path(ROCM_DEVICE_LIBRARY_DIR ockl.bc HINTS ${rocm} /usr NO_CMAKE_SYSTEM_PATH
    PATH_SUFFIXES amdgcn/bitcode lib/amdgcn/bitcode
                  lib/${CMAKE_LIBRARY_ARCHITECTURE}/amdgcn/bitcode)
  if(HIP_INCLUDE_DIR AND ROCM_DEVICE_LIBRARY_DIR)
    set(amd ${CMAKE_CXX_COMPILER} --rocm-path=${rocm}
      --rocm-device-lib-path=${ROCM_DEVICE_LIBRARY_DIR})
    foreach(architecture ${MEGAKERNEL_AMD_ARCHITECTURES})
      list(APPEND amd --offload-arch=${architecture})
    endforeach()
    set(gpu_amd_compile ${amd} -x hip ${gpu_flags} -fPIC ${MEGAKERNEL_WARNINGS})
    set(gpu_amd_link ${amd} --hip-link)
    megakernel_try_gpu_toolkit(amd ${MEGAKERNEL_AMD_ARCHITECTURES})
  else()
    message(STATUS "GPU programs: not with amd, there is no HIP runtime or no device libraries")
  endif()
endif()

# megakernel_add_gpu_program(NAME [SHARED] SOURCES FILE...)
#
# A target NAME that builds NAME.TOOLKIT, or libNAME.TOOLKIT.so, in the current binary directory
# for each toolkit that works.
add_custom_target(gpu_programs)
function(megakernel_add_gpu_program name)
  cmake_parse_arguments(PARSE_ARGV 1 program "SHARED" "" "SOURCES")
  set(binaries "")
  foreach(toolkit ${MEGAKERNEL_GPU_TOOLKITS})
    set(objects "")
    foreach(source ${program_SOURCES})
      cmake_path(ABSOLUTE_PATH source)
      cmake_path(GET source STEM stem)
      set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.${stem}.${toolkit}.o)
      add_custom_command(OUTPUT ${object}
        COMMAND ${gpu_${toolkit}_compile} -c ${source} -o ${object} -MD -MF ${object}.d
        DEPENDS ${source} DEPFILE ${object}.d
        COMMENT "Compiling ${stem}.hip with ${toolkit}" VERBATIM)
      list(APPEND objects ${object})
    endforeach()
    if(program_SHARED)
      set(binary ${CMAKE_CURRENT_BINARY_DIR}/lib${name}.${toolkit}.so)
      set(kind -shared)
    else()
      set(binary ${CMAKE_CURRENT_BINARY_DIR}/${name}.${toolkit})
      set(kind "")
    endif()
    add_custom_command(OUTPUT ${binary}
      COMMAND ${gpu_${toolkit}_link} ${kind} ${objects} -o ${binary}
      DEPENDS ${objects}
      COMMENT "Linking ${name} with ${toolkit}" VERBATIM)
    list(APPEND binaries ${binary})
  endforeach()
  add_custom_target(${name} ALL DEPENDS ${binaries})
  add_dependencies(gpu_programs ${name})
endfunction()

# Tests that the programs of such a target start, and say so where no GPU is visible.
function(megakernel_test_without_gpu name)
  foreach(toolkit ${MEGAKERNEL_GPU_TOOLKITS})
    add_test(NAME without_gpu.${name}.${toolkit} COMMAND ${CMAKE_COMMAND}
      -DPROGRAM=${CMAKE_CURRENT_BINARY_DIR}/${name}.${toolkit}
      -P ${PROJECT_SOURCE_DIR}/tests/without_gpu.cmake)
    set_tests_properties(without_gpu.${name}.${toolkit} PROPERTIES
      LABELS gpu
      ENVIRONMENT "CUDA_VISIBLE_DEVICES=-1;HIP_VISIBLE_DEVICES=-1;ROCR_VISIBLE_DEVICES=-1")
  endforeach()
endfunction()
