module build.invalid/pause

go 1.26.0
