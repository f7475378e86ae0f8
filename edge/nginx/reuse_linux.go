package nginx

const soReusePort = 0xf // asm-generic/socket.h; package syscall leaves it out
