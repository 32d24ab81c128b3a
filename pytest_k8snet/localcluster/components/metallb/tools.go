//go:build tools

// Package tools names the commands that the local cluster runs, so that go.mod and go.sum pin what they need.
package tools

import (
	_ "go.universe.tf/metallb/controller"
	_ "go.universe.tf/metallb/speaker"
)
