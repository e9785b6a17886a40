package network

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
)

// Numbers of nfnetlink (linux/netfilter/nfnetlink.h, nf_tables.h).
const (
	netlinkNetfilter = 12
	groupNFTables    = 7         // NFNLGRP_NFTABLES
	getTable         = 10<<8 | 1 // NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE
	deleteTable      = 10<<8 | 2 // NFT_MSG_DELTABLE
	deleteChain      = 10<<8 | 5 // NFT_MSG_DELCHAIN
	nfgenSize        = 4         // struct nfgenmsg
	attrTable        = 1         // NFTA_TABLE_NAME, NFTA_CHAIN_TABLE
)

// watchedTable is the firewall table of berth's plugins.
const watchedTable = "berth"

// repairPause lets what flushes the rules come to its end: tools that load a rule set delete tables one by one.
const repairPause = 200 * time.Millisecond

// Watch repairs the networks whenever the table of berth's plugins is deleted, until ctx ends, and at once if it is not there. Plugins
// delete it too, with the last pod that needs it; then there is nothing to repair. It ends with an error if the kernel can't be
// listened to any more.
func (n *Network) Watch(ctx context.Context) error {
	conn, err := netlink.Dial(netlinkNetfilter, &netlink.Config{Groups: 1 << (groupNFTables - 1)})
	if err != nil {
		return fmt.Errorf("watch the firewall: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(0, 0)) }) // what fails shows as an event or an end
	defer stop()
	lost := make(chan struct{}, 1)
	if present, err := tablePresent(); err != nil {
		return errors.Join(err, conn.Close())
	} else if !present {
		lost <- struct{}{}
	}
	done := make(chan struct{})
	repairs, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(done)
		n.repairWhenLost(repairs, lost)
	}()
	for {
		messages, err := conn.Receive()
		if ctx.Err() != nil {
			<-done
			return conn.Close()
		}
		overflow := errors.Is(err, syscall.ENOBUFS) // something was missed
		if err != nil && !overflow {
			cancel()
			<-done
			return errors.Join(fmt.Errorf("watch the firewall: %w", err), conn.Close())
		}
		if overflow || containsLoss(messages) {
			select {
			case lost <- struct{}{}:
			default:
			}
		}
	}
}

func (n *Network) repairWhenLost(ctx context.Context, lost <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-lost:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(repairPause):
		}
		select {
		case <-lost:
		default:
		}
		n.conf.Logger.InfoContext(ctx, "firewall rules of pods were deleted; putting them back")
		if err := n.Repair(ctx); err != nil {
			n.conf.Logger.WarnContext(ctx, "not all firewall rules of pods could be put back", "err", err)
		}
	}
}

// tablePresent tells whether the table is there now.
func tablePresent() (present bool, err error) {
	conn, err := netlink.Dial(netlinkNetfilter, nil)
	if err != nil {
		return false, fmt.Errorf("look for the firewall's table: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	tables, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: getTable, Flags: netlink.Request | netlink.Dump}, Data: make([]byte, nfgenSize),
	})
	if err != nil {
		return false, fmt.Errorf("look for the firewall's table: %w", err)
	}
	return slices.ContainsFunc(tables, ofTable), nil
}

// containsLoss tells whether the table, or a chain of it, was deleted.
func containsLoss(messages []netlink.Message) bool {
	return slices.ContainsFunc(messages, func(m netlink.Message) bool {
		return (m.Header.Type == deleteTable || m.Header.Type == deleteChain) && ofTable(m)
	})
}

// ofTable tells whether a message is about the table of berth's plugins. Another family's of that name does no harm.
func ofTable(m netlink.Message) bool {
	if len(m.Data) < nfgenSize {
		return false
	}
	attrs, err := netlink.NewAttributeDecoder(m.Data[nfgenSize:])
	if err != nil {
		return false
	}
	for attrs.Next() {
		if attrs.Type() == attrTable && attrs.String() == watchedTable {
			return true
		}
	}
	return false
}
