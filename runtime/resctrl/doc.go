// Package resctrl gives containers a class of service of the processor's caches and memory bandwidth, and a monitoring
// group, through the kernel's resctrl file system (Documentation/filesystems/resctrl.rst; linux.intelRdt of runtime-spec
// 1.3). A process joins by writing "0" to the files that [Group.JoinFiles] opens.
//
// It needs processors with Intel RDT, AMD QoS or Arm MPAM. The tests have none of these and run against a folder that
// behaves like the file system.
package resctrl
