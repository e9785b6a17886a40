package container_test

const sysRenameat2 = 276
