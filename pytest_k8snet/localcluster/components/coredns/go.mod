module build.invalid/coredns

go 1.26.0
