//go:build tools

// Package tools names the commands that the tier runs, so that go.mod and go.sum pin what they need.
package tools

import (
	_ "github.com/moby/moby/v2/cmd/docker-proxy"
	_ "github.com/moby/moby/v2/cmd/dockerd"
)
