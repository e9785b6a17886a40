package node

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Client speaks CRI with a node.
type Client struct {
	cri.RuntimeServiceClient
	cri.ImageServiceClient
	conn *grpc.ClientConn
}

// messageLimit is what the kubelet accepts.
const messageLimit = 16 << 20

// Dial returns a client of the node's socket. The connection is made at the first call.
func (n *Node) Dial() (*Client, error) {
	conn, err := grpc.NewClient("unix://"+n.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageLimit)))
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", n.Socket, err)
	}
	return &Client{RuntimeServiceClient: cri.NewRuntimeServiceClient(conn), ImageServiceClient: cri.NewImageServiceClient(conn), conn: conn}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Ping asks both services for something small.
func (c *Client) Ping(ctx context.Context) error {
	c.conn.ResetConnectBackoff() // the socket appears any moment
	if _, err := c.Version(ctx, &cri.VersionRequest{}); err != nil {
		return err
	}
	_, err := c.ListImages(ctx, &cri.ListImagesRequest{})
	return err
}
